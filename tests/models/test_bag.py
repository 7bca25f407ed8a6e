import torch
from torch import nn

from sweeper.models.bag import build_bag
from sweeper.trial import DataInfo, Tokens
from tests.support.models import n_parameters

TEXT = DataInfo("t", "0" * 16, (6,), 3, 9, 3, input_dtype="int64", tokens=Tokens(10))


def test_it_is_the_mean_of_the_words_in_any_order() -> None:
    net = build_bag(TEXT, 3, width=4).eval()
    words, last = net.get_submodule("embedding"), net.get_submodule("net.1")
    assert isinstance(words, nn.EmbeddingBag)
    wanted = last((words.weight[2] + 2 * words.weight[7]) / 3)
    for ids in ([2, 7, 7], [7, 2, 7, 0, 0]):
        torch.testing.assert_close(net(torch.tensor([ids]))[0], wanted, rtol=0, atol=1e-6)


def test_a_text_without_words_has_a_mean_of_zeros() -> None:
    net = build_bag(TEXT, 3, width=4)
    last = net.get_submodule("net.1")
    torch.testing.assert_close(net(torch.zeros(1, 2, dtype=torch.int64))[0], last.bias)


def test_a_word_that_training_did_not_see_says_nothing_but_counts() -> None:
    net = build_bag(TEXT, 3, width=4).eval()
    words, last = net.get_submodule("embedding"), net.get_submodule("net.1")
    assert isinstance(words, nn.EmbeddingBag)
    torch.testing.assert_close(net(torch.tensor([[2, 1]]))[0], last(words.weight[2] / 2))


def test_hidden_layers_follow_the_mean() -> None:
    assert n_parameters(build_bag(TEXT, 3, width=4)) == 10 * 4 + 4 * 3 + 3
    assert n_parameters(build_bag(TEXT, 3, width=4, depth=2)) == 40 + 2 * (16 + 4) + 15
