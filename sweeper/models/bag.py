"""The mean of a text's words: a bag of them, whatever their order."""

from torch import Tensor, nn

from sweeper.errors import TrainingError
from sweeper.models.dropout import Dropout
from sweeper.models.mlp import build_mlp
from sweeper.models.sequence import TextEmbedding, pooled
from sweeper.trial import DataInfo


class Bag(nn.Module):
    """Embeds words, takes their mean, and hands it to a network of hidden layers."""

    def __init__(self, embedding: TextEmbedding, dropout: float, net: nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.dropout = Dropout(dropout) if dropout > 0 else nn.Identity()
        self.net = net

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids int64 [B, L] of any L to outputs float32 [B, n_outputs]."""
        words, lengths = self.embedding(ids)
        outputs: Tensor = self.net(self.dropout(pooled(words, lengths, "mean")))
        return outputs


def build_bag(
    data: DataInfo,
    n_outputs: int,
    *,
    depth: int = 0,
    width: int = 128,
    dropout: float = 0.0,
) -> nn.Module:
    """Embedded words, their mean, ``depth`` hidden layers, then one linear layer.

    Args:
        data: Texts.
        n_outputs: Outputs per sample, >= 1.
        depth: Hidden layers, >= 0.
        width: Features of a word, and units of each hidden layer, >= 1.
        dropout: Share of the mean's features, and of hidden units, dropped while training, in
            [0, 1).

    Returns:
        A module int64 [B, L] -> outputs float32 [B, n_outputs].

    Raises:
        TrainingError: If the data are no texts.
    """
    if data.tokens is None:
        raise TrainingError(f"model.architecture: bag takes texts, and {data.name} is none")
    embedding = TextEmbedding(data.tokens.n_words, width)
    net = build_mlp((width,), n_outputs, depth=depth, width=width, dropout=dropout)
    return Bag(embedding, dropout, net)
