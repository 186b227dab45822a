"""Several networks as one: a better teacher than any of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Averages the posteriors of its members (Hansen & Salamon 1990; as a teacher: Hinton et al.
    2015, section 4). They share the input normalisation and nothing else.

    Shape: (batch, frames, dim) -> natural-log posteriors (batch, classes), which serve as logits;
    in training mode the members' own logits one below the other, (members * batch, classes), so
    that each learns as if it were alone.

    Raises:
      ValueError: no members.
    """

    def __init__(self, members: Sequence[nn.Module]):
        super().__init__()
        if not members:
            raise ValueError("an ensemble needs members")
        self.norm = members[0].norm
        for member in members:
            member.norm = self.norm
        self.members = nn.ModuleList(members)
        self.any_length = all(member.any_length for member in members)

    def forward(self, features: Tensor) -> Tensor:
        logits = [member(features) for member in self.members]
        if self.training:
            return torch.cat(logits)
        log_probs = torch.stack(logits).float().log_softmax(2)
        return log_probs.logsumexp(0) - torch.tensor(len(logits)).log()
