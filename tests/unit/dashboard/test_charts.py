"""Charts stay inside their frame, break where nothing was measured, and say in words what they show."""

import re

from hypothesis import given
from hypothesis import strategies as st

from common.dashboard.charts import HEIGHT, LEFT, RIGHT, WIDTH, Line, chart, histogram

POINTS = st.lists(st.tuples(st.floats(0.0, 600.0), st.none() | st.floats(0.0, 1e12)), max_size=50)


def polylines(text):
    found = re.findall(r'<polyline class=line(\d) points="([^"]*)"', text)
    return [(int(number), [tuple(map(float, point.split(","))) for point in points.split()]) for number, points in found]


@given(lines=st.lists(POINTS, min_size=1, max_size=4))
def test_every_line_lies_in_the_frame(lines):
    text = chart(
        "Rate", [Line(str(number), sorted(points, key=lambda point: -point[0])) for number, points in enumerate(lines)], 600.0, "bit/s"
    )

    for _, points in polylines(text):
        assert all(0.0 <= x <= WIDTH and 0.0 <= y <= HEIGHT for x, y in points)
    measured = any(value is not None for points in lines for _, value in points)
    assert ("nothing measured yet" in text) == (not measured)


def test_a_gap_breaks_the_line():
    text = chart("Rate", [Line("Z", [(30.0, 1.0), (20.0, 2.0), (10.0, None), (5.0, 1.0), (0.0, 3.0)])], 60.0, "%")

    assert [len(points) for _, points in polylines(text)] == [2, 2]


def test_words_and_labels_are_escaped_and_complete():
    text = chart("Rate <now>", [Line('"Z" & X', [(1.0, 1e-3), (0.0, 3e-3)])], 60.0, "%", 100.0)

    assert "<now>" not in text
    assert 'aria-label="Rate &lt;now&gt;: &quot;Z&quot; &amp; X 0.3 %, between 0.1 and 0.3"' in text


def test_the_axis_has_round_steps_above_all_values():
    text = chart("Rate", [Line("a", [(1.0, 0.0), (0.0, 387_000.0)])], 60.0, "bit/s")

    assert re.findall(r"text-anchor=end>([^<]*)</text>", text)[:-1] == ["0", "100 k", "200 k", "300 k", "400 k"]


@given(rows=st.lists(st.lists(st.integers(0, 10**9), min_size=8, max_size=8), min_size=1, max_size=4), low=st.floats(-0.5, 0.4))
def test_a_histogram_lies_in_the_frame_and_marks_its_band(rows, low):
    text = histogram("Arrivals", {f"<{number}>": row for number, row in enumerate(rows)}, 1.0, [(low, low + 0.1)], "ns")

    drawn = polylines(text)
    assert len(drawn) == len(rows)
    for (_, points), row in zip(drawn, rows, strict=True):
        assert len(points) == 2 * len(row)
        assert all(0.0 <= x <= WIDTH and 0.0 <= y <= HEIGHT for x, y in points)
        assert (points[2 * row.index(max(row))][1] == min(y for _, y in points)) is True
    ((begin, width),) = re.findall(r"<rect class=band x=([\d.]+) y=\d+ width=([\d.]+)", text)
    assert abs(float(width) - 0.1 * (WIDTH - LEFT - RIGHT)) < 0.2
    assert abs(float(begin) - LEFT - (low + 0.5) * (WIDTH - LEFT - RIGHT)) < 0.2
    assert "<0>" not in text


def test_a_histogram_says_where_most_arrives():
    text = histogram("Arrivals", {"H": [0, 0, 9, 1], "V": [3, 1, 0, 0]}, 4.0, [(-0.5, 0.5)], "ns")

    assert 'aria-label="Arrivals: H most at 0.5 ns; V most at -1.5 ns; marked -0.5 to 0.5 ns"' in text
