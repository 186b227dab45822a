import pytest
import torch

from kdspeech.train import spec_augment


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_masks_are_bands_within_their_limits():
    clips = torch.ones(200, 50, 40)
    masked = spec_augment(
        clips,
        time_masks=1,
        time_width=9,
        freq_masks=1,
        freq_width=5,
        fill=0.0,
        generator=generator(),
    )
    assert torch.equal(clips, torch.ones(200, 50, 40))
    frames = (masked == 0).all(2)
    dims = (masked == 0).all(1)
    assert frames.sum(1).max() == 9 and frames.sum(1).min() == 0
    assert dims.sum(1).max() == 5 and dims.sum(1).min() == 0
    # One band each: the mask goes up at most once along its axis.
    for bands in (frames, dims):
        rises = (bands[:, 1:] & ~bands[:, :-1]).sum(1) + bands[:, 0]
        assert rises.max() == 1
    rest = ~(frames.unsqueeze(2) | dims.unsqueeze(1))
    assert (masked[rest] == 1).all() and (masked[~rest] == 0).all()
    assert frames.any(0).all() and dims.any(0).all()  # every place is reached
    assert frames.float().sum(1).mean() == pytest.approx(4.5, abs=0.7)


def test_seed_decides_and_clips_differ():
    clips = torch.randn(4, 60, 40)
    first, again, other = (spec_augment(clips, generator=generator(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    places = (spec_augment(torch.ones(4, 60, 40), fill=0.0, generator=generator()) == 0).float()
    assert not torch.equal(places[0], places[1])


def test_global_generator_is_left_alone_when_one_is_given():
    state = torch.get_rng_state()
    spec_augment(torch.randn(2, 9, 4, generator=generator()), generator=generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_default_fill_is_the_clips_mean_and_vectors_work():
    clips = torch.randn(8, 30, 6) + 10
    masked = spec_augment(clips, 0, 0, 1, 6, generator=generator())
    changed = (masked != clips).all(1)
    means = clips.mean(1, keepdim=True).expand_as(clips)
    assert changed.any()
    assert torch.equal(masked.transpose(1, 2)[changed], means.transpose(1, 2)[changed])
    fill = torch.arange(6.0)
    masked = spec_augment(clips, 1, 30, 0, 0, max_time_part=1.0, fill=fill, generator=generator())
    frames = (masked == fill).all(2)
    assert frames.any() and (masked[frames] == fill).all()


def test_short_clips_keep_half_their_frames():
    masked = spec_augment(torch.ones(100, 6, 4), 1, 50, 0, 0, fill=0.0, generator=generator())
    assert (masked == 0).all(2).sum(1).max() == 3


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"got \(9, 4\)"):
        spec_augment(torch.ones(9, 4))
