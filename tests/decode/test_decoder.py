"""The lattice decoder against Kaldi's lattices and best paths, in batches and in chunks."""

import numpy as np
import pytest
from golden_decode import SYSTEMS, decoding_cases, system
from golden_lattices import assert_same_paths, lattices

from kdspeech.decode import Graph, Lattice, LatticeDecoder
from kdspeech.hmm import AcousticModel
from kdspeech.io.errors import InputError

UNLIMITED = 2**31 - 1  # Kaldi's default of max-active


def arcs_by_time(lattice: Lattice) -> np.ndarray:
    """Rows of time, transition id, word and the two costs, sorted; final arcs last."""
    sources = np.repeat(np.arange(lattice.num_states), np.diff(lattice.offsets))
    arcs = lattice.arcs
    columns = [lattice.state_times()[sources], arcs["ilabel"], arcs["olabel"]]
    columns += [arcs["graph_cost"], arcs["acoustic_cost"]]
    rows = np.stack(columns, axis=1)
    return rows[np.lexsort(rows.round(3).T[::-1])]


@pytest.mark.golden
@pytest.mark.parametrize("name", SYSTEMS)
def test_raw_lattices_are_those_of_gmm_latgen_faster(golden, name):
    golden_system, kaldi = system(golden, name), lattices(golden, f"raw.{name}")
    decoder = LatticeDecoder(
        golden_system.graph, golden_system.tid_to_pdf, 13, lattice_beam=6, max_active=UNLIMITED
    )
    utterances = list(golden_system.loglikes)
    assert len(utterances) >= 3
    decoded = decoder.decode_batch([golden_system.loglikes[u] for u in utterances], num_threads=2)
    for utterance, found in zip(utterances, decoded, strict=True):
        ours, theirs = found.lattice, kaldi[utterance]
        assert (ours.num_states, ours.num_arcs) == (theirs.num_states, theirs.num_arcs)
        np.testing.assert_allclose(arcs_by_time(ours), arcs_by_time(theirs), rtol=1e-5, atol=1e-3)
        ends = [np.sort(x.finals["graph_cost"][np.isfinite(x.finals["graph_cost"])]) for x in
                (ours, theirs)]  # fmt: skip
        np.testing.assert_allclose(*ends, atol=1e-3)
        best = ours.best_path(acoustic_scale=0.1)
        np.testing.assert_array_equal(best.tids, found.tids)
        assert best.graph_cost == pytest.approx(found.graph_cost, abs=1e-3)
        assert best.acoustic_cost == pytest.approx(found.acoustic_cost, abs=1e-2)


@pytest.mark.golden
@pytest.mark.parametrize("name", SYSTEMS)
@pytest.mark.parametrize("best_only", [False, True])
def test_best_paths_are_those_of_gmm_latgen_faster(golden, name, best_only):
    golden_system, count = system(golden, name), 0
    for case, utterance, kaldi in decoding_cases(golden, name, "latgen"):
        options = case["options"]
        decoder = LatticeDecoder(
            golden_system.graph,
            golden_system.tid_to_pdf,
            beam=options["beam"],
            lattice_beam=options["lattice-beam"],
            max_active=options.get("max-active", UNLIMITED),
            min_active=options.get("min-active", 200),
            acoustic_scale=options["acoustic-scale"],
            best_only=best_only,
        )
        found = decoder.decode(golden_system.loglikes[utterance])
        assert found.tids.tolist() == kaldi["alignment"], (case["id"], utterance)
        assert found.words.tolist() == kaldi["words"]
        assert (found.lattice is None) == best_only
        count += 1
    assert count >= 6


@pytest.mark.golden
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_chunks_give_the_same_as_all_at_once(golden, chunk):
    mono = system(golden, "mono")
    decoder = LatticeDecoder(mono.graph, mono.tid_to_pdf, 13, lattice_beam=6)
    loglikes = mono.loglikes["u1_jackson"]
    decoder.start()
    for begin in range(0, len(loglikes), chunk):
        decoder.advance(loglikes[begin : begin + chunk])
        partial = decoder.partial()
        assert len(partial.tids) == min(begin + chunk, len(loglikes))
    streamed, whole = decoder.finish(), decoder.decode(loglikes)
    np.testing.assert_array_equal(streamed.tids, whole.tids)
    np.testing.assert_array_equal(streamed.lattice.arcs, whole.lattice.arcs)
    assert partial.words[:4].tolist() == whole.words.tolist()  # the end was not known yet


@pytest.mark.golden
def test_a_decoder_may_be_used_from_several_threads(golden):
    from concurrent.futures import ThreadPoolExecutor

    mono = system(golden, "mono")
    decoder = LatticeDecoder(mono.graph, mono.tid_to_pdf, 13, lattice_beam=6)
    expected = [decoder.decode(loglikes).tids for loglikes in mono.loglikes.values()]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(decoder.decode, list(mono.loglikes.values()) * 3))
    for i, decoded in enumerate(found):
        np.testing.assert_array_equal(decoded.tids, expected[i % len(expected)])


def word_loop() -> Graph:
    """Words 1 and 2 of one frame each, transition ids 1 and 2; a word costs 1, the end 3."""
    return Graph.from_arrays([0, 0], [0, 0], [1, 2], [1, 2], [1.0, 1.0], [3.0])


def test_hand_computed_lattice():
    # Frame 0 prefers word 1 by 2, frame 1 word 2 by 8: within 5 of the best, two paths.
    decoder = LatticeDecoder(word_loop(), [-1, 0, 1], lattice_beam=5, acoustic_scale=1.0)
    found = decoder.decode(np.array([[-1.0, -3.0], [-9.0, -1.0]]))
    assert found.words.tolist() == [1, 2] and found.reached_final
    assert (found.graph_cost, found.acoustic_cost) == (5.0, 2.0)
    paths = [(p.words.tolist(), p.graph_cost, p.acoustic_cost) for p in found.lattice.nbest(10)]
    assert paths == [([1, 2], 5.0, 2.0), ([2, 2], 5.0, 4.0)]


def test_lattice_beam_is_kept_over_many_prunings():
    rng = np.random.default_rng(0)
    loglikes = rng.normal(0, 3, (120, 2)).astype(np.float32)
    decoders = [
        LatticeDecoder(word_loop(), [-1, 0, 1], 100, 4, acoustic_scale=1.0, prune_interval=n)
        for n in (1, 25, 1000)
    ]
    first, *others = (decoder.decode(loglikes).lattice for decoder in decoders)
    worse = np.abs(loglikes[:, 0] - loglikes[:, 1])  # what the other word costs in each frame
    assert first.num_arcs == 120 + np.sum(worse <= 4)
    for other in others:
        np.testing.assert_array_equal(first.arcs, other.arcs)


def dead_end() -> Graph:
    return Graph.from_arrays([0, 1], [1, 2], [1, 1], [0, 0], [0.0, 0.0], [np.inf, np.inf, 0.0])


def test_partial_paths_and_dead_ends():
    decoder = LatticeDecoder(dead_end(), [-1, 0])
    short = decoder.decode(np.zeros((1, 1)))
    assert not short.reached_final and short.tids.tolist() == [1]
    assert short.lattice.num_states == 2
    with pytest.raises(InputError, match="no path is left at frame 2"):
        decoder.decode(np.zeros((5, 1)))
    decoder.start()
    decoder.advance(np.zeros((5, 1)))
    assert decoder.partial().tids.tolist() == []
    with pytest.raises(InputError, match="no path is left at frame 2"):
        decoder.finish()


def test_bad_utterances_do_not_stop_a_batch():
    bad = np.zeros((3, 2))
    bad[1, 0] = np.nan
    batch = [np.zeros((3, 2)), bad, np.zeros((0, 2)), np.zeros((3, 1)), np.full((2, 2), -np.inf)]
    decoded = LatticeDecoder(word_loop(), [-1, 0, 1]).decode_batch(batch, num_threads=3)
    problems = [found.problem for found in decoded]
    assert problems[0] == "" and decoded[0].lattice.num_states == 4
    assert problems[1] == "the log-likelihood of frame 1, pdf 0 is nan"
    assert problems[2] == "no frames"
    assert "1 pdfs, the graph needs 2" in problems[3]
    assert problems[4] == "no path is left at frame 0"
    assert LatticeDecoder(word_loop(), [-1, 0, 1]).decode_batch([]) == []


def test_a_stream_must_be_started():
    decoder = LatticeDecoder(word_loop(), [-1, 0, 1])
    for call in (decoder.partial, decoder.finish, lambda: decoder.advance(np.zeros((1, 2)))):
        with pytest.raises(InputError, match="start"):
            call()
    decoder.start()
    decoder.advance(np.zeros((2, 2)))
    decoder.finish()
    with pytest.raises(InputError, match="start"):
        decoder.finish()


@pytest.mark.parametrize(
    "options",
    [
        {"beam": 0},
        {"beam": np.nan},
        {"lattice_beam": -1},
        {"max_active": 1},
        {"min_active": 8000},
        {"acoustic_scale": 0},
        {"acoustic_scale": np.inf},
        {"prune_interval": 0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(InputError, match="out of range"):
        LatticeDecoder(word_loop(), [-1, 0, 1], **options)


@pytest.mark.golden
@pytest.mark.parametrize("name", SYSTEMS)
def test_determinized_lattices_are_kaldis(golden, name):
    golden_system, kaldi = system(golden, name), lattices(golden, f"det.{name}")
    transitions = AcousticModel.read(golden / "gmm" / "models" / f"{name}.mdl").transitions
    decoder = LatticeDecoder(
        golden_system.graph,
        transitions.tid_to_pdf,
        beam=13,
        lattice_beam=6,
        max_active=UNLIMITED,
        determinize=transitions,
    )
    utterances = list(golden_system.loglikes)
    decoded = decoder.decode_batch([golden_system.loglikes[u] for u in utterances], num_threads=2)
    for utterance, found in zip(utterances, decoded, strict=True):
        assert_same_paths(found.compact, kaldi[utterance], atol=2e-3)
