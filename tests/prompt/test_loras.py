"""LoRAs that a prompt names, as AUTOMATIC1111 1.10 reads them."""

import time

import pytest

from gesso.errors import BadRequest
from gesso.prompt.loras import NamedLora, added, refuse_loras, take_loras, written


@pytest.mark.parametrize(
    ("mark", "text_encoders", "unet"),
    [
        ("<lora:film>", 1, 1),
        ("<lora:film:0.8>", 0.8, 0.8),
        ("<lora:film:.5>", 0.5, 0.5),
        ("<lora:film:-1.>", -1, -1),
        ("<lora:film:5e-1>", 0.5, 0.5),
        ("<lora:film:0.5:0.8>", 0.5, 0.8),
        ("<lora:film:te=0.5>", 0.5, 0.5),
        ("<lora:film:unet=0.8>", 1, 0.8),
        ("<lora:film:0.3:te=0.5>", 0.5, 0.5),
        ("<lora:film:0.3:unet=0.8>", 0.3, 0.8),
        ("<lora:film:0.3:0.4:te=0.5:unet=0.8>", 0.5, 0.8),
        ("<lora: film : 0.8 >", 0.8, 0.8),
        ("<lora:film:4:-4>", 4, -4),
    ],
)
def test_a_mark_says_how_strongly(mark: str, text_encoders: float, unet: float) -> None:
    assert take_loras(f"a{mark} boat") == ("a boat", (NamedLora("film", text_encoders, unet),))


def test_marks_are_taken_out_wherever_they_stand_and_in_order() -> None:
    words, loras = take_loras("<lora:b:0.5>(a <lora:c>boat:1.2) [sun:moon<lora:a:2>:0.5]\n<lora:b>")
    assert words == "(a boat:1.2) [sun:moon:0.5]\n"
    assert [lora.name for lora in loras] == ["b", "c", "a", "b"]


@pytest.mark.parametrize(
    "text",
    [
        "a < b > c",
        "<hypernet:x:1>",
        "<Lora:film>",
        "<lora:film",
        "<lora:>",
        "<lora>",
        "<a:<lora:film>",
        "lora:film>",
        "",
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert take_loras(text) == (text, ())
    refuse_loras(text, "negative_prompt")


@pytest.mark.parametrize(
    ("mark", "said"),
    [
        ("<lora:film:strong>", "the weight 'strong' is not a number; allowed is a number from -4 to 4"),
        ("<lora:film:>", "the weight '' is not a number"),
        ("<lora:film:nan>", "the weight 'nan' is not a number"),
        ("<lora:film:1e999>", "the weight '1e999' is out of range"),
        ("<lora:film:\u0663>", "is not a number"),
        ("<lora:film:4.01>", "the weight '4.01' is out of range; allowed is a number from -4 to 4"),
        ("<lora:film:unet=-5>", "the weight '-5' is out of range"),
        ("<lora:film:1:1:8>", "'8' is one too many"),
        ("<lora:film:dyn=4>", "'dyn' is not known here; known are te and unet"),
    ],
)
def test_what_means_nothing_is_refused_with_the_mark(mark: str, said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        take_loras(f"a {mark} b <lora:good>")
    (problem,) = refused.value.problems
    assert (problem.parameter, problem.value) == ("prompt", mark)
    assert problem.problem.startswith(f"{mark}: ")
    assert said in problem.problem


def test_all_marks_that_mean_nothing_are_told_at_once() -> None:
    with pytest.raises(BadRequest) as refused:
        take_loras(f"<lora:a:x> <lora:b:y> <lora:{'c' * 500}:z>")
    assert len(refused.value.problems) == 3
    assert len(refused.value.sentence) < 600


def test_where_a_lora_has_no_place_it_is_refused() -> None:
    with pytest.raises(
        BadRequest, match=r"negative_prompt: <lora:film:0\.8>: a LoRA holds for the whole picture; name it"
    ):
        refuse_loras("fog, <lora:film:0.8>", "negative_prompt")


def test_what_is_said_of_one_name_is_added_up() -> None:
    named = [NamedLora("b", 1, 0.5), NamedLora("a", 0.25, 0.25), NamedLora("b", -1, 0.5)]
    assert added(named) == (NamedLora("a", 0.25, 0.25), NamedLora("b", 0, 1))


@pytest.mark.parametrize(
    ("lora", "mark"),
    [
        (NamedLora("film", 0.8, 0.8), "<lora:film:0.8>"),
        (NamedLora("film", 1, 1), "<lora:film:1>"),
        (NamedLora("a=b", -1.0, 1 / 3), "<lora:a=b:-1:0.3333333333333333>"),
        (NamedLora("film", 1e-9, 1e-9), "<lora:film:1e-09>"),
    ],
)
def test_what_is_written_is_read_again(lora: NamedLora, mark: str) -> None:
    assert written(lora) == mark
    assert take_loras(mark) == ("", (lora,))


def test_a_long_text_of_half_marks_takes_no_time() -> None:
    began = time.perf_counter()
    assert take_loras("<lora:" * 30_000) == ("<lora:" * 30_000, ())
    assert time.perf_counter() - began < 1
