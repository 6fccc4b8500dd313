"""Maximum-likelihood fits of a few positive parameters to counts, with their uncertainties; a page of numpy in place of a library.

Fisher scoring: each step solves the normal equations of the linearised model, weighted by the variance the model itself predicts, and
is halved until the fit improves. For counts that converges to the maximum of the Poisson likelihood, which a least-squares fit of
histograms with empty bins does not. Parameters are moved by factors, so they stay positive. Used by the fits of ``alice.source``.

References
----------
Nelder and Wedderburn 1972, J. R. Statist. Soc. A 135, 370 (the method); Baker and Cousins 1984, Nucl. Instrum. Methods 221, 437
(the deviance as a measure of fit). Status: planning (estimates with standard deviations).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from common.errors import StreamError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MOST_STEPS: Final = 200
"""Steps of a fit; a dozen are usual."""

MOST_HALVINGS: Final = 30
"""Times a step is halved before the fit is taken to be at its best."""

LONGEST_STEP: Final = 0.7
"""A parameter changes by at most this factor's exponential in a step."""

CONVERGED: Final = 1e-9
"""A step that improves the deviance by less than this share ends the fit."""

DIFFERENCE: Final = 1e-5
"""Relative change of a parameter for the derivative."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The best parameters.

    Attributes
    ----------
    values : tuple[float, ...]
        Parameters.
    uncertainties : tuple[float, ...]
        One standard deviation of each; widened by the root of ``deviance_ratio`` where the model does not describe the data fully.
    deviance_ratio : float
        Deviance over degrees of freedom: about 1 where the model describes the data; infinite without a degree of freedom.
    """

    values: tuple[float, ...]
    uncertainties: tuple[float, ...]
    deviance_ratio: float


def fit_counts(model: Callable[[NDArray[np.float64]], NDArray[np.float64]], start: tuple[float, ...], counts: NDArray[np.int64]) -> Fit:
    """Fit expected counts to counts.

    Parameters
    ----------
    model : callable
        Expected counts, float64[n], all above 0, from the parameters, float64[k], all above 0.
    start : tuple[float, ...]
        Parameters to begin with, above 0.
    counts : int64[n]
        What was counted.

    Returns
    -------
    Fit
        Maximum of the Poisson likelihood.

    Raises
    ------
    StreamError
        If the data do not determine the parameters.
    """
    seen = counts.astype(np.float64)

    def deviance(expected: NDArray[np.float64]) -> float:
        terms = np.where(seen > 0.0, seen * np.log(np.maximum(seen, 1.0) / expected), 0.0)
        return float(2.0 * (expected - seen + terms).sum())

    return _fit(model, start, seen, lambda expected: expected, deviance)


def fit_values(
    model: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    start: tuple[float, ...],
    values: NDArray[np.float64],
    sigma: NDArray[np.float64],
) -> Fit:
    """Fit values whose standard deviations are known.

    Parameters
    ----------
    model : callable
        Expected values from the parameters, as in ``fit_counts``.
    start : tuple[float, ...]
        Parameters to begin with, above 0.
    values, sigma : float64[n]
        Values and their standard deviations.

    Returns
    -------
    Fit
        Least squares, weighted.

    Raises
    ------
    StreamError
        If the data do not determine the parameters.
    """
    return _fit(model, start, values, lambda _expected: sigma**2, lambda expected: float((((values - expected) / sigma) ** 2).sum()))


def _fit(
    model: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    start: tuple[float, ...],
    seen: NDArray[np.float64],
    variance: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    deviance: Callable[[NDArray[np.float64]], float],
) -> Fit:
    parameters = np.array(start, np.float64)
    expected = model(parameters)
    best = deviance(expected)
    for _ in range(MOST_STEPS):
        jacobian = _jacobian(model, parameters)
        weights = 1.0 / variance(expected)
        step = _solved(jacobian.T @ (jacobian * weights[:, None]), jacobian.T @ (weights * (seen - expected)))
        step *= min(1.0, LONGEST_STEP / max(float(np.abs(step).max()), 1e-300))
        for _ in range(MOST_HALVINGS):
            tried = parameters * np.exp(step)
            improved = deviance(model(tried))
            if improved <= best:
                break
            step *= 0.5
        else:
            break
        gained, best, parameters = best - improved, improved, tried
        expected = model(parameters)
        if gained <= CONVERGED * (1.0 + best):
            break
    jacobian = _jacobian(model, parameters)
    information = jacobian.T @ (jacobian / variance(expected)[:, None])
    spread = np.sqrt(np.diag(_solved(information, np.eye(parameters.size))))
    freedom = seen.size - parameters.size
    ratio = best / freedom if freedom > 0 else float("inf")
    widened = max(1.0, ratio) ** 0.5 if freedom > 0 else 1.0
    return Fit(tuple(map(float, parameters)), tuple(map(float, parameters * spread * widened)), ratio)


def _jacobian(model: Callable[[NDArray[np.float64]], NDArray[np.float64]], parameters: NDArray[np.float64]) -> NDArray[np.float64]:
    """Derivatives of the model by the logarithms of its parameters, float64[n, k]."""
    columns = []
    for index in range(parameters.size):
        moved = [parameters.copy(), parameters.copy()]
        moved[0][index] *= np.exp(DIFFERENCE)
        moved[1][index] *= np.exp(-DIFFERENCE)
        columns.append((model(moved[0]) - model(moved[1])) / (2.0 * DIFFERENCE))
    return np.stack(columns, axis=1)


def _solved(matrix: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    try:
        solution = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        solution = np.full(right.shape, np.nan)
    if not np.isfinite(solution).all():
        raise StreamError("the data do not determine the parameters of the fit: record for longer, or over a wider range")
    return np.asarray(solution)
