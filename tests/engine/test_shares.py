"""Who has had more than a fair share of the engine."""

from gesso.engine.shares import QUANTUM, SPARED, Shares

LONGEST = 1.0
LITTLE, PILE = 0.1, 2 * QUANTUM


def test_an_account_with_a_pile_of_work_is_held_to_its_share() -> None:
    shares = Shares()
    assert not shares.beyond({1: PILE, 2: LITTLE}, LONGEST)
    shares.served(1, SPARED)
    assert not shares.beyond({1: PILE, 2: LITTLE}, LONGEST)
    shares.served(1, 0.1)
    assert shares.beyond({1: PILE, 2: LITTLE}, LONGEST) == {1}


def test_one_that_asks_for_little_may_have_a_quantum_more() -> None:
    shares = Shares()
    shares.beyond({1: LITTLE, 2: LITTLE}, LONGEST)
    shares.served(1, QUANTUM - 2 * LITTLE)
    assert not shares.beyond({1: LITTLE, 2: LITTLE}, LONGEST)
    shares.served(1, 2 * LITTLE)
    assert shares.beyond({1: LITTLE, 2: LITTLE}, LONGEST) == {1}


def test_of_two_with_piles_the_one_that_has_had_less_is_within_its_share() -> None:
    shares = Shares()
    shares.beyond({1: PILE, 2: PILE}, LONGEST)
    for account in (1, 2, 2):
        shares.served(account, LONGEST)
    assert shares.beyond({1: PILE, 2: PILE}, LONGEST) == {2}


def test_an_account_with_a_larger_share_may_have_so_many_times_more() -> None:
    shares = Shares()
    shares.beyond({1: PILE, 2: PILE}, LONGEST)
    shares.served(1, 3 * LONGEST, share=3)
    shares.served(2, LONGEST)
    assert not shares.beyond({1: PILE, 2: PILE}, LONGEST)
    shares.served(1, 3 * LONGEST, share=3)
    assert shares.beyond({1: PILE, 2: PILE}, LONGEST) == {1}


def test_an_account_alone_is_never_beyond_its_share() -> None:
    shares = Shares()
    for _ in range(100):
        assert not shares.beyond({1: PILE}, LONGEST)
        shares.served(1, 10.0)


def test_what_nobody_else_wanted_is_forgiven() -> None:
    shares = Shares()
    shares.beyond({1: PILE, 2: PILE}, LONGEST)
    shares.served(2, 1000.0)
    assert shares.beyond({1: PILE, 2: PILE}, LONGEST) == {2}
    shares.served(1, QUANTUM * LONGEST)
    assert not shares.beyond({1: PILE, 2: PILE}, LONGEST)


def test_going_away_and_coming_back_makes_nobody_innocent() -> None:
    shares = Shares()
    shares.beyond({1: PILE, 2: PILE}, LONGEST)
    shares.served(2, 5 * LONGEST)
    shares.beyond({1: PILE}, LONGEST)
    assert shares.beyond({1: PILE, 2: PILE}, LONGEST) == {2}


def test_a_newcomer_owes_nothing_and_is_owed_nothing() -> None:
    shares = Shares()
    for _ in range(100):
        shares.beyond({1: PILE, 2: PILE}, LONGEST)
        shares.served(1, 0.5)
        shares.served(2, 0.5)
    assert not shares.beyond({1: PILE, 2: PILE, 3: PILE}, LONGEST)


def test_a_newcomer_is_within_its_share_also_beside_one_that_was_left_behind() -> None:
    shares = Shares()
    shares.beyond({1: PILE, 2: PILE}, LONGEST)
    shares.served(1, 100.0)
    assert shares.beyond({1: PILE, 2: PILE, 3: PILE}, LONGEST) == {1}


def test_a_row_of_newcomers_does_not_keep_an_account_beyond_its_share_for_ever() -> None:
    shares = Shares()
    shares.beyond({1: PILE, 2: PILE, 3: PILE}, LONGEST)
    shares.served(1, 5 * LONGEST)
    for number in range(2, 200):
        shares.beyond({1: PILE, number: PILE, number + 1: PILE}, LONGEST)
        shares.served(number, LONGEST)
    assert 1 not in shares.beyond({1: PILE, 200: PILE, 201: PILE}, LONGEST)
