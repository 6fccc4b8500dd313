"""Compiles what a live link needs into the cache of the tests, once, before three processes of the first test each compile it."""

from tests.support.numba_cache import choose_numba_cache

if __name__ == "__main__":
    choose_numba_cache()

    from common.cli.warm_up import is_cold, warm_up
    from common.profiles.link import load_profile

    profile = load_profile("niedersachsen")
    if is_cold(profile):
        warm_up(profile)
