"""Samples on the page: each a card with its player or picture and what the networks answer."""

import html
from collections.abc import Sequence

import numpy as np

from kdspeech.report.analysis.soft_targets import log_softmax
from kdspeech.report.analysis.study import Network, Study

STYLE = """
.figures { grid-template-columns: repeat(auto-fill, minmax(min(100%, 22rem), 1fr)); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr));
  gap: 0.8rem; margin: 0.6rem 0; }
.sample-card { background: var(--card); border: 1px solid var(--grid); border-radius: 10px;
  padding: 0.6rem 0.7rem; min-width: 0; }
.sample-card h4 { margin: 0; font-size: 1rem; display: flex; gap: 0.5rem; flex-wrap: wrap;
  align-items: baseline; justify-content: space-between; }
.sample-card h4 small { font-weight: 400; color: var(--muted); overflow-wrap: anywhere; }
.sample-card p { margin: 0.1rem 0 0.3rem; font-size: 0.8rem; color: var(--muted); }
.wave { display: block; width: 100%; height: 2.75rem; margin: 0.2rem 0; }
.wave polygon { fill: var(--s0); } .wave rect { fill: var(--s1); opacity: 0.22; }
.player { display: flex; align-items: center; gap: 0.5rem; font-size: 0.78rem;
  color: var(--muted); }
.player span { flex: 0 0 3.2rem; } .player audio { flex: 1 1 0; min-width: 0; height: 2.2rem; }
@media (pointer: coarse) { .player audio { height: 3.4rem; } }
img.sample { display: block; width: 7rem; height: auto; image-rendering: pixelated;
  margin: 0.3rem auto; }
.answers { display: grid; grid-template-columns: minmax(0, max-content) minmax(0, 1fr);
  gap: 0.1rem 0.6rem; font-size: 0.82rem; margin: 0.4rem 0 0; }
.answers dt { overflow-wrap: anywhere; } .answers dd { margin: 0; }
.answers .right { color: var(--s2); } .answers .wrong { color: var(--s1); }
.masses { display: flex; height: 0.45rem; border-radius: 3px; overflow: hidden;
  background: var(--grid); }
.masses i { display: block; height: 100%; } .masses .own { background: var(--s2); }
.masses .other { background: var(--s1); }
"""


def cards(study: Study, samples: Sequence[int], notes: Sequence[str] = ()) -> str:
    """Samples by their numbers, each with a note if there are any."""
    texts = list(notes) or [""] * len(samples)
    content = "".join(_card(study, int(i), note) for i, note in zip(samples, texts, strict=True))
    return f'<div class="cards">{content}</div>' if content else ""


def _card(study: Study, i: int, note: str) -> str:
    word, name = html.escape(study.classes[study.labels[i]]), html.escape(study.samples[i])
    shown = study.exhibit(i) if study.exhibit else ""
    said = f"<p>{html.escape(note)}</p>" if note else ""
    answers = "".join(_answer(study, network, i) for network in study.networks)
    return (
        f'<article class="sample-card"><h4>{word}<small>{name}</small></h4>{said}{shown}'
        f'<dl class="answers">{answers}</dl></article>'
    )


def _answer(study: Study, network: Network, i: int) -> str:
    """A network's likeliest classes, and the masses on the true class and its strongest rival."""
    probs = np.exp(log_softmax(network.logits[i : i + 1]))[0]
    label = study.labels[i]
    order = np.argsort(-probs, kind="stable")
    others = [k for k in order if k != label]
    top = [k for k in order[:3] if probs[k] >= 0.005 or k == order[0]]
    text = ", ".join(f"{study.classes[k]}: {100 * probs[k]:.0f} %" for k in top)
    verdict = "right" if order[0] == label else "wrong"
    masses = (("own", probs[label]), ("other", probs[others[0]] if others else 0.0))
    bars = "".join(f'<i class="{c}" style="width:{100 * p:.1f}%"></i>' for c, p in masses)
    return (
        f'<dt>{html.escape(network.name)}</dt><dd><span class="{verdict}">{html.escape(text)}'
        f'</span><span class="masses">{bars}</span></dd>'
    )
