"""Progressive edge growth for quasi-cyclic codes: places every edge where the cycles it closes are longest.

The base matrix has ``rows x columns`` entries; an entry with shift ``s`` stands for ``lift`` edges, check ``i`` of the row to bit
``(i + s) mod lift`` of the column. Edges are placed one at a time, base column after base column. Before each, a
breadth-first search from bit 0 of the column finds the checks that are farthest away in the lifted graph; among those the
base row with the fewest edges wins, and the check chosen in it is the shift. Sets of lifted nodes are Python integers, one bit a
node, so that a step of the search is one rotation an edge. Called by ``code_design`` only.

References
----------
[Hu2005] progressive edge growth; [Li2004] its quasi-cyclic form. Status: planning.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from common.errors import LocalProtocolError


class Draws:
    """Numbers from SHAKE-256 over a label: the same on every machine and with every library version.

    Parameters
    ----------
    label : str
        Names the stream; different labels give unrelated streams.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._count = 0

    def below(self, limit: int) -> int:
        """Return a number from 0 to ``limit - 1``; the bias of the modulo is below 2^-40 for the limits used here.

        Parameters
        ----------
        limit : int
            Positive.

        Returns
        -------
        int
            The draw.
        """
        self._count += 1
        digest = hashlib.shake_256(f"{self._label}:{self._count}".encode()).digest(8)
        return int.from_bytes(digest, "little") % limit


@dataclass
class LiftedGraph:
    """A quasi-cyclic graph under construction.

    Attributes
    ----------
    count_rows, count_columns : int
        Base matrix.
    lift : int
        Copies of every base node.
    edges : list[dict[int, int]]
        For each base column, base row to shift.
    row_degrees : list[int]
        Base edges of each row.
    """

    count_rows: int
    count_columns: int
    lift: int
    edges: list[dict[int, int]] = field(default_factory=list)
    row_degrees: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.edges = [{} for _ in range(self.count_columns)]
        self.row_degrees = [0] * self.count_rows

    def place(self, row: int, column: int, shift: int) -> None:
        """Add the ``lift`` edges of one base entry.

        Parameters
        ----------
        row, column : int
            The entry, empty so far.
        shift : int
            Circulant shift, 0 to ``lift - 1``.
        """
        self.edges[column][row] = shift
        self.row_degrees[row] += 1

    def unreached_checks(self, column: int) -> list[list[int]]:
        """Search breadth first from bit 0 of ``column`` and list what is left unreached after each depth.

        Parameters
        ----------
        column : int
            Base column to start from.

        Returns
        -------
        list[list[int]]
            After 0, 1, ... double steps: for each base row the set of unreached checks, bit ``i`` for check ``i``. The search ends
            when nothing new is reached.
        """
        everything = (1 << self.lift) - 1
        bits = [0] * self.count_columns
        checks = [0] * self.count_rows
        bits[column] = 1
        fresh = [column]
        levels = [[everything] * self.count_rows]
        while fresh:
            grown = set()
            for index in fresh:
                for row, shift in self.edges[index].items():
                    joined = checks[row] | self._rotated(bits[index], self.lift - shift)
                    if joined != checks[row]:
                        checks[row] = joined
                        grown.add(row)
            if not grown:
                break
            levels.append([everything & ~reached for reached in checks])
            fresh = []
            for index, entries in enumerate(self.edges):
                joined = bits[index]
                for row, shift in entries.items():
                    if row in grown:
                        joined |= self._rotated(checks[row], shift)
                if joined != bits[index]:
                    bits[index] = joined
                    fresh.append(index)
        return levels

    def _rotated(self, nodes: int, by: int) -> int:
        by %= self.lift
        return ((nodes << by) | (nodes >> (self.lift - by))) & ((1 << self.lift) - 1)

    def girth(self, most: int = 12) -> int:
        """Return the length of the shortest cycle of the lifted graph, looking no farther than ``most``.

        Parameters
        ----------
        most : int
            Even; returned when no shorter cycle exists.

        Returns
        -------
        int
            Even number from 4 to ``most``.
        """
        shortest = most
        for column in range(self.count_columns):
            shortest = min(shortest, self._shortest_through(column, shortest))
        return shortest

    def _shortest_through(self, column: int, limit: int) -> int:
        """Shortest cycle through bit 0 of ``column``: two branches of the search tree that meet."""
        reached = {(True, column, 0): -1}
        frontier = [(True, column, 0)]
        rows_of = self.edges
        columns_of = self._columns_of_rows()
        for depth in range(1, limit // 2 + 1):
            following: list[tuple[bool, int, int]] = []
            for is_bit, index, copy in frontier:
                branch = reached[(is_bit, index, copy)]
                neighbours = rows_of[index].items() if is_bit else columns_of[index]
                for other, shift in neighbours:
                    node = (not is_bit, other, (copy - shift if is_bit else copy + shift) % self.lift)
                    its_branch = branch if branch >= 0 else other
                    if node not in reached:
                        reached[node] = its_branch
                        following.append(node)
                    elif branch >= 0 and reached[node] >= 0 and reached[node] != its_branch and node in following:
                        return 2 * depth
            frontier = following
        return limit

    def _columns_of_rows(self) -> list[list[tuple[int, int]]]:
        columns: list[list[tuple[int, int]]] = [[] for _ in range(self.count_rows)]
        for index, entries in enumerate(self.edges):
            for row, shift in entries.items():
                columns[row].append((index, shift))
        return columns


def grown_graph(column_degrees: list[int], count_rows: int, lift: int, draws: Draws) -> LiftedGraph:
    """Place all edges.

    Parameters
    ----------
    column_degrees : list[int]
        Degree of every base column, none above ``count_rows``.
    count_rows : int
        Base rows.
    lift : int
        Copies of every base node.
    draws : Draws
        Decides between equals.

    Returns
    -------
    LiftedGraph
        Without cycles of length 4 wherever the base matrix has room.

    Raises
    ------
    LocalProtocolError
        If a column asks for more edges than there are rows.
    """
    graph = LiftedGraph(count_rows, len(column_degrees), lift)
    for column, degree in enumerate(column_degrees):
        for _ in range(degree):
            row, check = _farthest_check(graph, column, draws)
            graph.place(row, column, -check % lift)
    return graph


def _farthest_check(graph: LiftedGraph, column: int, draws: Draws) -> tuple[int, int]:
    taken = graph.edges[column]
    for unreached in reversed(graph.unreached_checks(column)):
        open_rows = [row for row, left in enumerate(unreached) if left and row not in taken]
        if open_rows:
            least = min(graph.row_degrees[row] for row in open_rows)
            rows = [row for row in open_rows if graph.row_degrees[row] == least]
            row = rows[draws.below(len(rows))]
            checks = [check for check in range(graph.lift) if unreached[row] >> check & 1]
            return row, checks[draws.below(len(checks))]
    raise LocalProtocolError(f"column {column} asks for more edges than there are rows")
