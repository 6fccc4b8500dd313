"""The budget adds up, or is refused."""

import pytest

from common.errors import ConfigurationError
from common.profiles.link import load_profile
from common.security.epsilons import EpsilonBudget


def test_secrecy_is_spent_on_acceptance_twice_and_amplification():
    budget = EpsilonBudget(1e-10, 1e-15, 1e-15)
    assert 2 * budget.epsilon_acceptance + budget.epsilon_amplification == budget.epsilon_secrecy
    assert budget.probability_estimation == budget.epsilon_acceptance**2 == pytest.approx(6.25e-22)
    assert budget.sum == 1e-10 + 1e-15 + 1e-15


def test_events_share_the_estimation_probability_equally():
    budget = EpsilonBudget(1e-10, 1e-15, 1e-15)
    items = budget.itemised(("phase errors Z", "multi-photon key Z", "multi-photon test X"))
    shares = [value for name, value in items.items() if name.startswith("estimation, ")]
    assert sum(shares) == pytest.approx(items["estimation"])
    assert len(set(shares)) == 1
    assert items["secrecy"] + items["correctness"] + items["authentication"] == items["total"]


@pytest.mark.parametrize(
    "epsilons", [(0.0, 1e-15, 1e-15), (1e-10, -1e-15, 1e-15), (1e-10, 1e-15, 1.0), (1e-200, 1e-15, 1e-15), (0.5, 0.4, 0.3)]
)
def test_epsilons_out_of_range_are_refused(epsilons):
    with pytest.raises(ConfigurationError, match="epsilon"):
        EpsilonBudget(*epsilons)


def test_a_total_that_does_not_add_up_is_refused():
    EpsilonBudget(1e-10, 1e-15, 1e-15, epsilon_total=1.00002e-10)
    with pytest.raises(ConfigurationError, match="epsilon_total"):
        EpsilonBudget(1e-10, 1e-15, 1e-15, epsilon_total=1e-10)


def test_a_proof_without_events_is_refused():
    with pytest.raises(ConfigurationError, match="event"):
        EpsilonBudget(1e-10, 1e-15, 1e-15).itemised(())


def test_the_budget_is_read_off_a_profile():
    assert EpsilonBudget.of(load_profile("hbn").security) == EpsilonBudget(1e-10, 1e-15, 1e-15)
