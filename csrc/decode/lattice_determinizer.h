// One pass of lattice determinization.
#pragma once

#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

#include "decode/lattice.h"
#include "decode/lattice_builder.h"
#include "decode/lattice_subset.h"
#include "decode/string_trie.h"

namespace kdspeech {

// Weighted determinization with the best paths' transition ids as part of the weight; what is on
// the best paths is done first, so that it can stop anywhere (Povey et al., "Generating exact
// lattices in the WFST framework", 2012, and Kaldi's determinize-lattice-pruned, which makes the
// same states). The labels are the input's olabels. The arcs without a label come first among those
// of a state.
class Determinizer {
 public:
  Determinizer(const LatticeView& in, double acoustic_scale, double beam, int64_t max_mem);

  Lattice Run();  // once; a compact lattice
  // The beam in force: less than `beam` where Run stopped because of max_mem.
  double EffectiveBeam() const { return effective_beam_; }

 private:
  // Follow `label` from an output state to `subset`, which is not normalized.
  struct Task {
    int32_t state, label;
    Subset subset;
  };
  // Where a subset leads, and the string and cost that normalizing took out of it.
  struct Destination {
    int32_t state, string;
    PathCost cost;
  };
  // An element whose string still lacks what is on `arc`.
  struct Pending {
    SubsetElement element;
    const LatticeArc* arc;
  };

  double Total(const PathCost& cost) const { return cost.graph + scale_ * cost.acoustic; }
  int Compare(const PathCost& a, const PathCost& b) const;
  bool Better(const SubsetElement& a, const SubsetElement& b) const;
  bool Better(Pending* a, Pending* b);

  static Pending Follow(const SubsetElement& element, const LatticeArc& arc);
  void Resolve(Pending* pending);
  int32_t Extend(int32_t string, int32_t ilabel);

  void Close(Subset* subset);
  void Reach(Pending pending);
  bool IsNeeded(int32_t state) const;
  Destination Normalize(Subset* subset);

  int32_t OutputState(const Subset& subset, double forward);
  void ProcessFinal(int32_t state);
  void QueueTransitions(int32_t state);
  void QueueTask(int32_t state, double priority, size_t begin, size_t end);
  void ProcessTask(int32_t index);
  Destination Lead(const Subset& subset, double forward);
  int32_t OutputString(int32_t a, int32_t b);

  int64_t Bytes() const;
  bool MemoryIsEnough();

  const LatticeView in_;
  const double scale_;
  const int64_t max_mem_;
  const std::vector<double> backward_;  // the cost of the best path from each state to the end
  double cutoff_, effective_beam_;

  LatticeBuilder out_;
  std::vector<double> forward_;  // of each output state, the cost of the best path to it
  StringTrie strings_;
  SubsetTable initial_;                    // normalized, not closed
  std::vector<Destination> destinations_;  // of these
  SubsetTable minimal_;                    // closed and normalized: numbered as output states

  std::vector<Task> tasks_;
  std::vector<int32_t> free_tasks_;
  using Entry = std::pair<double, int32_t>;  // best cost of a path through it, and task
  std::priority_queue<Entry, std::vector<Entry>, std::greater<Entry>> queue_;
  int64_t queued_elements_ = 0, num_arcs_ = 0, out_bytes_ = 0;

  // Scratch: the elements found by Close, the states among them still to look at (a heap), the
  // place of each state among them or -1; elements that arcs with labels lead to.
  std::vector<Pending> closure_;
  std::vector<int32_t> heap_, place_;
  std::vector<Pending> pairs_;
  std::vector<int32_t> tids_, more_tids_;
};

}  // namespace kdspeech
