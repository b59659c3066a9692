"""An optimiser that takes the loss for one function is not handed several: L-BFGS asks for the whole set, unclipped, at one rate."""

import re
from pathlib import Path

import pytest
from omegaconf import DictConfig

from nnpx.config import compose
from nnpx.errors import ConfigError
from nnpx.upstream import check_choices

WHOLE = ("trainer.batch_size=null", "trainer.gradient_clip=null", "trainer.ema_decay=0", "schedule=constant", "loss=huber")
#: what misleads it, instead of each of these
OTHERS = ("trainer.batch_size=8", "trainer.gradient_clip=10", "trainer.ema_decay=0.99", "schedule=warmup_cosine", "loss=two_stage")


def check(*words: str) -> None:
    check_choices("check", compose(words), Path.cwd())


def test_what_would_mislead_it_is_refused_with_the_words_that_mend_it():
    check("optimizer=lbfgs", *WHOLE)
    for word, other in zip(WHOLE, OTHERS, strict=True):
        with pytest.raises(ConfigError) as caught:
            check("optimizer=lbfgs", *WHOLE, other)
        noun = word.partition("=")[0]
        assert "whole training set (batch_size=null, as its size is known only later)" in str(caught.value)
        assert str(caught.value).endswith(f"neither clipped nor averaged, found another by {noun}. Add {word}.")
    with pytest.raises(ConfigError) as caught:
        check("optimizer=lbfgs")
    check("optimizer=lbfgs", *str(caught.value).partition("Add ")[2].removesuffix(".").split())


def advised(config: DictConfig) -> list[str]:
    """The words that a refusal says, of alternatives the first; none where there is nothing to refuse."""
    try:
        check_choices("check", config, Path.cwd())
    except ConfigError as refused:
        words = re.findall(r"[a-z_.]+=\w+", str(refused).rpartition(". ")[2])
        return words if "Add" in str(refused) else words[:1]
    return []


@pytest.mark.parametrize("loss", ["two_stage", "huber", "nll"])
def test_no_advice_for_a_shallow_ensemble_takes_back_the_one_before(loss):
    words, nouns = ["optimizer=lbfgs", "ensemble=shallow", f"loss={loss}"], []
    while more := advised(compose(words)):
        words += more
        nouns += [word.partition("=")[0] for word in more]
    assert len(set(nouns)) == len(nouns) == len(WHOLE) - 1 + (loss != "nll")


def test_a_loss_in_stages_that_fits_the_spread_gives_way_to_one_that_does():
    config = compose(["optimizer=lbfgs", "ensemble=shallow", *WHOLE, "loss=two_stage"])
    config.loss.first = config.loss.second = compose(["loss=crps"]).loss
    assert advised(config) == ["loss=crps"]


@pytest.mark.parametrize("option", ["soap", "adamw", "amsgrad"])
def test_others_take_what_there_is(option):
    check(f"optimizer={option}", *OTHERS)
