import json

import numpy as np
import pytest

from common.cli.benchmarks import amplification, measurement, reconciliation
from common.cli.main import run
from common.distillation.reconciliation.codes import SHORT_BITS, load_code, name_of
from common.distillation.reconciliation.ldpc_frames import encode, layout_of
from common.errors import LocalProtocolError


def test_the_fourier_transform_multiplies_by_the_same_matrix_as_the_definition():
    rng = np.random.default_rng(1)
    key, seed = rng.integers(0, 2, 50, np.uint8), rng.integers(0, 2, 69, np.uint8)
    matrix = np.array([[seed[row - column + 49] for column in range(50)] for row in range(20)])

    assert np.array_equal(amplification._by_fourier_transform(key, seed, 20), matrix @ key % 2)


@pytest.mark.parametrize("least", [1, 2, 3, 7, 100, 149_999, 1_500_000])
def test_a_good_length_is_long_enough_and_not_much_longer(least):
    length = amplification._good_length(least)

    assert least <= length <= max(2, 1.5 * least)


def test_the_peer_decodes_by_the_same_parity_checks():
    pytest.importorskip("scipy")
    code = load_code(name_of(SHORT_BITS, 0.5))
    layout = layout_of(code, code.count_bits, 0)
    word = np.random.default_rng(2).integers(0, 2, (1, code.count_bits), np.uint8)

    assert np.array_equal(reconciliation._parity_checks(code) @ word[0].astype(np.int64) % 2, encode(layout, word, word[:, :0])[0])


def test_peers_that_are_not_installed_leave_their_columns_empty(monkeypatch, capsys):
    monkeypatch.setattr(amplification, "installed", lambda _name: None)
    monkeypatch.setattr(reconciliation, "installed", lambda _name: None)

    assert run(["bench", "amplification", "reconciliation", "--quick", "--qber", "0.02", "--block-bits", "65536", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    peers = {record["peer"] for record in records}

    assert peers == {None, "numpy FFT, float64"}


def test_a_peer_that_disagrees_is_an_error():
    with pytest.raises(LocalProtocolError, match="differ in their result"):
        measurement.require_equal(np.array_equal([0], [1]), "two programs")


def test_the_first_run_is_never_counted_and_runs_alternate():
    calls = []
    request = measurement.Request(quick=True)

    measurement.fastest(request, lambda: calls.append("ours"), lambda: calls.append("peer"))

    assert calls == ["ours", "peer"] * 3
