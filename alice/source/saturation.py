"""Saturation of an emitter: how its rate grows with the excitation power, and where it stops growing.

An emitter that is excited faster than it decays gives no more light: ``I = I_sat P / (P + P_sat)``. Comes from a table of powers and
rates; the result goes to the report, and tells at which power to run the source.

References
----------
Novotny and Hecht, Principles of Nano-Optics, 2nd ed., section 9.4 (three-level emitter). Status: planning (an estimate with its
standard deviation).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from alice.source.fitting import fit_values
from common.errors import StreamError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_POINTS: Final = 3
"""Points that a fit of two parameters needs to say anything of itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Saturation:
    """The curve that fits a table.

    Attributes
    ----------
    rate_hz, rate_uncertainty_hz : float
        Rate at endless power, ``I_sat``, and one standard deviation.
    power, power_uncertainty : float
        Power of half that rate, ``P_sat``, in the table's unit.
    deviance_ratio : float
        About 1 where the curve describes the table within its uncertainties; above, they have been widened.
    points : float64[n, 3]
        The table: power, rate, uncertainty of the rate.
    fitted : float64[n]
        The curve at its powers.
    """

    rate_hz: float
    rate_uncertainty_hz: float
    power: float
    power_uncertainty: float
    deviance_ratio: float
    points: NDArray[np.float64]
    fitted: NDArray[np.float64]

    def rate_at(self, power: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rate the curve gives at each ``power``, hertz."""
        return np.asarray(self.rate_hz * power / (power + self.power))


def fit_saturation(power: NDArray[np.float64], rate_hz: NDArray[np.float64], uncertainty_hz: NDArray[np.float64]) -> Saturation:
    """Fit a table of powers and rates.

    Parameters
    ----------
    power : float64[n]
        Powers, in any unit, above 0.
    rate_hz, uncertainty_hz : float64[n]
        Rates with background taken off, and one standard deviation of each, above 0, hertz.

    Returns
    -------
    Saturation
        The curve.

    Raises
    ------
    StreamError
        If there are too few points, a value is out of range, or the rate does not bend within the table.
    """
    table = np.stack([power, rate_hz, uncertainty_hz], axis=1).astype(np.float64)
    if table.shape[0] < FEWEST_POINTS or np.unique(power).size < FEWEST_POINTS:
        raise StreamError(f"saturation: {table.shape[0]} points; {FEWEST_POINTS} different powers at least make a curve")
    if not np.isfinite(table).all() or (table[:, 0] <= 0.0).any() or (table[:, 2] <= 0.0).any():
        raise StreamError("saturation: powers and uncertainties must be above 0, and all values numbers")

    def model(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(parameters[0] * table[:, 0] / (table[:, 0] + parameters[1]))

    start = (max(2.0 * float(table[:, 1].max()), 1.0), float(np.median(table[:, 0])))
    fit = fit_values(model, start, table[:, 1], table[:, 2])
    if fit.values[1] > 1e3 * float(table[:, 0].max()) or fit.uncertainties[1] > fit.values[1]:
        raise StreamError("saturation: the rate grows in proportion to the power throughout; measure at higher powers")
    return Saturation(
        rate_hz=fit.values[0],
        rate_uncertainty_hz=fit.uncertainties[0],
        power=fit.values[1],
        power_uncertainty=fit.uncertainties[1],
        deviance_ratio=fit.deviance_ratio,
        points=table,
        fitted=model(np.array(fit.values)),
    )
