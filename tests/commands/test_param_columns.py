from sweeper.commands.param_columns import ParamColumn, param_columns


def test_what_every_trial_has_comes_before_what_branches_have() -> None:
    names = [
        "data.batch_size",
        "model.architecture",
        "model.architecture.mlp.depth",
        "model.architecture.mlp.width",
        "model.architecture.cnn.depth",
        "train.learning_rate",
    ]
    assert param_columns(names) == [
        ParamColumn("batch_size", ["data.batch_size"]),
        ParamColumn("architecture", ["model.architecture"]),
        ParamColumn("learning_rate", ["train.learning_rate"]),
        ParamColumn("depth", ["model.architecture.mlp.depth", "model.architecture.cnn.depth"]),
        ParamColumn("width", ["model.architecture.mlp.width"]),
    ]


def test_names_that_end_alike_in_two_places_are_told_apart() -> None:
    titles = [column.title for column in param_columns(["data.size", "model.size"])]
    assert titles == ["data.size", "model.size"]


def test_a_cell_is_short() -> None:
    column = ParamColumn("x", ["a.x", "b.x"])
    assert column.cell({"a.x": 0.00012345}) == "0.000123"
    assert column.cell({"b.x": 1_000_000}) == "1000000"
    assert column.cell({"a.x": True}) == "True"
    assert column.cell({"a.x": "my.package.nets:wide"}) == "wide"
    assert column.cell({"a.x": "n" * 40}) == "n" * 15 + "…"
    assert column.cell({"c.x": 1}) == ""
