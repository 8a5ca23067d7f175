"""Pages of blocks."""

from opdsl.reference.blocks import block_entry, block_page, block_text


def row(page: str, begin: str) -> list[str]:
    line = next(x for x in page.splitlines() if x.startswith(f"| `{begin}"))
    return [x.strip() for x in line.strip("|").split(" | ")]


def test_a_page_has_formula_parameters_promises_and_source():
    page = block_page(block_entry("spectral_conv"))
    assert page.startswith("# spectral_conv\n\nw = F^-1(R . F(v)) + b")
    assert row(page, "modes`")[1:3] == ["integer ≥ 0 or list of integer ≥ 0", "required"]
    assert row(page, "bias`")[2] == "`true`"
    assert "(batch, 3, x, y) → (batch, 8, x, y)" in page
    assert "arXiv:2010.08895" in page.partition("## Source")[2]


def test_weights_and_bounds_are_those_of_the_block():
    # 5 x 3 modes of a real function on two axes, matrices of 3 x 5 complex numbers, 5 of a bias
    page = block_page(block_entry("spectral_conv"))
    call = row(page, "spectral_conv(u, modes = 2, out = 5)")
    assert call[4:6] == [f"{2 * 3 * 5 * 5 * 3 + 5}", "yes"]
    assert call[3].startswith("5 for")


def test_a_block_without_limit_says_why():
    assert "shrinks with the grid" in block_page(block_entry("conv"))
    assert "no: turns every sample point into a channel" in block_page(block_entry("flatten"))


def test_the_text_for_a_terminal_has_no_markup():
    text = block_text(block_entry("spectral_conv"))
    assert "```" not in text
    assert "    edition 2026" in text
    assert "modes  integer ≥ 0 or list of integer ≥ 0; required" in text


def test_an_unknown_block_has_no_entry():
    assert block_entry("spectral_con") is None
