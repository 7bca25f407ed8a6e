from sweeper.study.samplers.seeds import draw_seed, trial_seed


def test_the_seed_of_a_trial_never_changes_between_versions() -> None:
    # `printf 7/0 | b2sum -l 64` and the same of 7/1, less the last bit.
    assert trial_seed(7, 0) == 0x9FA492FDE114A4E3 >> 1
    assert trial_seed(7, 1) == 0xD428F663D4F72E1E >> 1


def test_seeds_of_neighbouring_trials_and_studies_differ_and_stay_in_range() -> None:
    seeds = {trial_seed(study, number) for study in range(-1, 20) for number in range(50)}
    assert len(seeds) == 21 * 50
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_the_seed_of_a_draw_differs_with_each_trial_and_fits_optuna() -> None:
    seeds = {draw_seed(study, number) for study in range(20) for number in range(50)}
    assert len(seeds) == 1000
    assert all(0 <= seed < 2**32 for seed in seeds)
