"""Cards with anything in them: a sentence, and nothing is made or fetched."""

from hypothesis import given
from hypothesis import strategies as st

from support.fuzzing import cards, commands, counts
from support.fuzzing.profiles import examples


@given(st.data())
@examples(short=60, long=4_000)
def test_a_card_with_anything_in_it_is_read_or_refused(sandboxes, template, data):
    card = data.draw(cards.odd_cards(template))
    counts.add("cards")
    with cards.sandbox_of(template, sandboxes) as sandbox:
        card.write(sandbox)
        named = [sandbox.results, *([sandbox.cards / "data"] if "prepare" in card.words else [])]
        commands.run(sandbox, *card.words, named=named, names_paths=True)
