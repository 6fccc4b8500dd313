"""Profiles are checked once, at the edge, and every mistake is named."""

import pytest

from common.distillation.recipe import Recipe
from common.errors import ConfigurationError
from common.profiles.link import load_profile, profile_names


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_comes_with_us_is_complete_and_makes_a_recipe(name):
    profile = load_profile(name)

    assert profile.name == name
    assert Recipe.of(profile).target_detections >= profile.security.block_bits


def test_a_setting_changes_one_entry_and_nothing_else():
    changed, plain = load_profile("hbn", ["channel.loss_db=3", "receiver.basis_choice=passive"]), load_profile("hbn")

    assert changed.channel.loss_db == 3.0
    assert changed.receiver.basis_choice == "passive"
    assert changed.source == plain.source


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("channel.los_db=3", "channel.los_db"),
        ("channel.loss_db=-1", "channel.loss_db"),
        ("channel.loss_db=nan", "channel.loss_db"),
        ("source.kind=laser", "source.kind"),
        ("security.epsilon_secrecy=0", "security.epsilon_secrecy"),
        ("security.block_bits=1e99", "security.block_bits"),
        ("protocol=qkd", "protocol"),
        ("channel.loss_db", "section.key=value"),
        ("name.first=x", "name"),
    ],
)
def test_a_wrong_setting_is_named(setting, named):
    with pytest.raises(ConfigurationError, match=named.replace(".", r"\.")):
        load_profile("hbn", [setting])


def test_an_unknown_profile_lists_the_known_ones(tmp_path):
    with pytest.raises(ConfigurationError, match=r"hbn.*niedersachsen"):
        load_profile("nowhere")
    with pytest.raises(ConfigurationError, match="no such file"):
        load_profile(str(tmp_path / "missing.toml"))
    (tmp_path / "broken.toml").write_text("[source", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="not TOML"):
        load_profile(str(tmp_path / "broken.toml"))


def test_an_unknown_section_is_refused():
    with pytest.raises(ConfigurationError, match="sauce"):
        load_profile("hbn", ["sauce.kind='single-photon'"])
