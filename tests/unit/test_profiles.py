"""Profiles are checked once, at the edge, and every mistake is named."""

import pytest

from common.distillation.recipe import Recipe
from common.errors import ConfigurationError
from common.profiles.link import load_profile, profile_names
from common.security.proofs.registry import require_composable


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_comes_with_us_is_complete_and_makes_a_recipe(name):
    profile = load_profile(name)

    assert profile.name == name
    assert Recipe.of(profile).target_detections >= profile.security.block_bits
    assert require_composable(profile.protocol, profile.security.proof).status == "composable"


def test_a_proof_that_makes_no_key_is_refused_where_key_would_be_made():
    with pytest.raises(ConfigurationError, match=r"security.proof = 'niedersachsen' reproduces a publication and makes no key"):
        Recipe.of(load_profile("niedersachsen", ["security.proof=niedersachsen"]))


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("hbn", "security.proof=bb84-decoy", "security.proof = 'bb84-decoy' does not fit protocol = 'bb84'"),
        ("hbn", "security.paper_proof=hefei", "security.proof = 'hefei' does not fit protocol = 'bb84'"),
        ("hbn", "protocol=three-state", "security.proof"),
        ("hbn", "source.g2=1.2", "source.g2"),
        ("hbn", "source.mean_photon_number=0", "source.mean_photon_number: a single-photon source needs one above 0"),
        ("hbn", "source.intensities=[0.5, 0.1]", "source.intensities: a single-photon source has none"),
        ("hbn", "channel.visibility=0.9", "channel.visibility = 0.9: it belongs to encoding = 'time-bin'"),
        ("hbn", "encoding=time-bin", "receiver.time_bin_separation_ps = 0.0: three arrival times have to fit"),
        ("timebin-120km", "receiver.gate_ps=5000.0", "receiver.gate_ps = 5000.0: gates of neighbouring time bins overlap"),
        ("timebin-120km", "security.key_bases=both", "security.key_bases = 'both'"),
        ("hefei", "channel.fading_sigma_db=5", "channel.fading_sigma_db = 5: with channel.loss_db = 14.6 the channel would often amplify"),
        ("hefei", "channel.fading_sigma_db=30", "channel.fading_sigma_db: Input should be less than or equal to 20"),
        ("hbn", "source.clock_hz=1e-300", "source.clock_hz: Input should be greater than or equal to 1"),
        ("hbn", "security.epsilon_secrecy=1e-300", "security.epsilon_secrecy"),
        ("decoy", "source.intensities=[1e300, 0.1, 0.002]", "source.intensities.0: Input should be less than or equal to 100"),
        ("decoy", "source.kind=single-photon", "source.kind = 'single-photon' does not fit protocol = 'bb84-decoy'"),
        ("decoy", "source.mean_photon_number=0.5", "source.mean_photon_number = 0.5: weak coherent light"),
        ("decoy", "source.probability_intensity=[0.8, 0.1, 0.2]", "source.probability_intensity"),
        ("decoy", "source.intensities=[0.1, 0.45, 0.002]", "source.intensities"),
    ],
)
def test_entries_that_contradict_each_other_are_named(name, setting, said):
    with pytest.raises(ConfigurationError) as refused:
        load_profile(name, [setting])

    assert said in str(refused.value)


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
