#include "decode/lattice_determinize.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

#include "decode/lattice_builder.h"
#include "decode/lattice_determinizer.h"
#include "decode/lattice_path.h"

namespace kdspeech {

namespace {

constexpr double kRetryCutoff = 0.5;  // a beam that got smaller than this share is tried again
constexpr int kMaxTries = 10;

// The words of a lattice together with the phones that begin on its arcs, as labels.
class PhoneLabels {
 public:
  explicit PhoneLabels(const std::vector<int32_t>& phone_starts) : phone_starts_(phone_starts) {}

  int32_t Label(const LatticeArc& arc) {
    const size_t tid = arc.ilabel;
    const int32_t phone = tid < phone_starts_.size() ? phone_starts_[tid] : 0;
    if (phone == 0 && arc.olabel == 0) return 0;
    const uint64_t key = (static_cast<uint64_t>(arc.olabel) << 32) | static_cast<uint32_t>(phone);
    const auto found = labels_.emplace(key, static_cast<int32_t>(words_.size()));
    if (found.second) words_.push_back(arc.olabel);
    return found.first->second;
  }
  int32_t Word(int32_t label) const { return words_[label]; }

 private:
  const std::vector<int32_t>& phone_starts_;
  std::unordered_map<uint64_t, int32_t> labels_;
  std::vector<int32_t> words_{0};  // of each label
};

// Puts the arcs without a label first among those of each state.
void SortArcs(Lattice* lattice) {
  for (int32_t state = 0; state < lattice->NumStates(); ++state) {
    std::stable_partition(lattice->arcs.begin() + lattice->offsets[state],
                          lattice->arcs.begin() + lattice->offsets[state + 1],
                          [](const LatticeArc& arc) { return arc.olabel == 0; });
  }
}

// Determinizes on the olabels. Where memory ends before half of the beam is reached, once more with
// a smaller beam and a pruned lattice, as Kaldi does.
Lattice DeterminizePruned(Lattice lattice, const DeterminizeOptions& options,
                          double* effective_beam) {
  if (lattice.NumStates() == 0) return LatticeBuilder(true).Build();
  SortArcs(&lattice);
  double beam = options.beam;
  for (int tries = 1;; ++tries) {
    Determinizer determinizer(lattice.View(), options.acoustic_scale, beam, options.max_mem);
    Lattice result = determinizer.Run();
    *effective_beam = determinizer.EffectiveBeam();
    if (*effective_beam >= beam * kRetryCutoff || tries == kMaxTries) return result;
    beam *= std::max(0.5, std::sqrt(std::max(0.0, *effective_beam) / beam));
    lattice = Prune(lattice.View(), {options.acoustic_scale, 1.0, 0.0}, beam);
    SortArcs(&lattice);
  }
}

Lattice Copy(const LatticeView& view) {
  Lattice lattice;
  if (view.num_states == 0) return lattice;
  lattice.offsets.assign(view.offsets, view.offsets + view.num_states + 1);
  lattice.arcs.assign(view.arcs, view.arcs + view.NumArcs());
  lattice.finals.assign(view.finals, view.finals + view.num_states);
  return lattice;
}

}  // namespace

Lattice DeterminizePhonePruned(const LatticeView& lattice, const std::vector<int32_t>& phone_starts,
                               const DeterminizeOptions& options, double* effective_beam) {
  Lattice work = Copy(lattice);
  double phone_beam = options.beam, word_beam = options.beam;
  if (options.phone_determinize) {
    PhoneLabels labels(phone_starts);
    // Not on the arcs of the start, as in Kaldi.
    const int32_t first = work.NumStates() ? work.offsets[1] : 0;
    for (size_t i = 0; i < work.arcs.size(); ++i) {
      LatticeArc plain = work.arcs[i];
      if (static_cast<int32_t>(i) < first) plain.ilabel = 0;
      work.arcs[i].olabel = labels.Label(plain);
    }
    work = DeterminizePruned(std::move(work), options, &phone_beam);
    for (LatticeArc& arc : work.arcs) arc.olabel = labels.Word(arc.olabel);
  }
  Lattice result = DeterminizePruned(std::move(work), options, &word_beam);
  if (effective_beam) *effective_beam = std::min(phone_beam, word_beam);
  return result;
}

}  // namespace kdspeech
