"""An optimiser that takes the loss for one function is not handed several: L-BFGS asks for the whole set, unclipped, at one rate."""

from pathlib import Path

import pytest

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
        assert str(caught.value).endswith(f"neither clipped nor averaged, found another by {noun}. Add {word}.")
    with pytest.raises(ConfigError) as caught:
        check("optimizer=lbfgs")
    check("optimizer=lbfgs", *str(caught.value).partition("Add ")[2].removesuffix(".").split())


@pytest.mark.parametrize("option", ["soap", "adamw", "amsgrad"])
def test_others_take_what_there_is(option):
    check(f"optimizer={option}", *OTHERS)
