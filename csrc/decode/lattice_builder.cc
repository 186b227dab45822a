#include "decode/lattice_builder.h"

#include <algorithm>
#include <utility>

#include "feat/error.h"

namespace kdspeech {

LatticeBuilder::LatticeBuilder(const LatticeView& lattice) : compact_(lattice.IsCompact()) {
  if (!compact_) return;
  string_offsets_.assign(lattice.string_offsets, lattice.string_offsets + lattice.num_strings + 1);
  tids_.assign(lattice.tids, lattice.tids + string_offsets_.back());
}

void LatticeBuilder::AddStates(int32_t num_states) {
  if (num_states <= NumStates()) return;
  finals_.resize(num_states);
  final_strings_.resize(num_states, 0);
}

int32_t LatticeBuilder::AddState() {
  AddStates(NumStates() + 1);
  return NumStates() - 1;
}

void LatticeBuilder::AddArc(int32_t state, const LatticeArc& arc) {
  from_.push_back(state);
  arcs_.push_back(arc);
}

void LatticeBuilder::SetFinal(int32_t state, const LatticeCost& cost, int32_t string) {
  finals_[state] = cost;
  final_strings_[state] = string;
}

int32_t LatticeBuilder::AddString(const int32_t* begin, const int32_t* end) {
  if (begin == end) return 0;
  tids_.insert(tids_.end(), begin, end);
  string_offsets_.push_back(static_cast<int32_t>(tids_.size()));
  return static_cast<int32_t>(string_offsets_.size()) - 2;
}

// A counting sort.
void LatticeBuilder::SortArcsByState() {
  offsets_.assign(NumStates() + 1, 0);
  for (const int32_t state : from_) ++offsets_[state + 1];
  for (int32_t state = 0; state < NumStates(); ++state) offsets_[state + 1] += offsets_[state];
  if (!std::is_sorted(from_.begin(), from_.end())) {
    std::vector<int32_t> next(offsets_.begin(), offsets_.end() - 1);
    std::vector<LatticeArc> sorted(arcs_.size());
    for (size_t i = 0; i < arcs_.size(); ++i) sorted[next[from_[i]]++] = arcs_[i];
    arcs_ = std::move(sorted);
  }
  from_.clear();
}

bool LatticeBuilder::IsSorted(int32_t start) const {
  if (start != 0) return false;
  for (int32_t state = 0; state < NumStates(); ++state) {
    for (int32_t i = offsets_[state]; i < offsets_[state + 1]; ++i) {
      if (arcs_[i].nextstate <= state) return false;
    }
  }
  return true;
}

// The states that `start` leads to, by a depth-first search, each before those it leads to.
std::vector<int32_t> LatticeBuilder::Order(int32_t start) const {
  enum Colour : char { kNew, kOpen, kDone };
  std::vector<Colour> colour(NumStates(), kNew);
  std::vector<int32_t> order, next_arc(offsets_.begin(), offsets_.end() - 1), stack{start};
  colour[start] = kOpen;
  while (!stack.empty()) {
    const int32_t state = stack.back();
    if (next_arc[state] == offsets_[state + 1]) {
      colour[state] = kDone;
      order.push_back(state);
      stack.pop_back();
      continue;
    }
    const int32_t next = arcs_[next_arc[state]++].nextstate;
    if (colour[next] == kOpen) throw InputError("lattice: its arcs make a cycle");
    if (colour[next] == kNew) {
      colour[next] = kOpen;
      stack.push_back(next);
    }
  }
  std::reverse(order.begin(), order.end());
  return order;
}

// New numbers, in `order`, for the states that lead to a final state; -1 for the others.
std::vector<int32_t> LatticeBuilder::Number(const std::vector<int32_t>& order) const {
  std::vector<int32_t> numbers(NumStates(), -1);
  for (auto state = order.rbegin(); state != order.rend(); ++state) {
    bool useful = IsFinal(finals_[*state]);
    for (int32_t i = offsets_[*state]; i < offsets_[*state + 1] && !useful; ++i) {
      useful = numbers[arcs_[i].nextstate] >= 0;
    }
    if (useful) numbers[*state] = 0;
  }
  int32_t number = 0;
  for (const int32_t state : order) {
    if (numbers[state] == 0) numbers[state] = number++;
  }
  return numbers;
}

int32_t LatticeBuilder::CopyString(int32_t string, Lattice* lattice) {
  int32_t& number = string_numbers_[string];
  if (number < 0) {
    number = static_cast<int32_t>(lattice->string_offsets.size()) - 1;
    lattice->tids.insert(lattice->tids.end(), tids_.begin() + string_offsets_[string],
                         tids_.begin() + string_offsets_[string + 1]);
    lattice->string_offsets.push_back(static_cast<int32_t>(lattice->tids.size()));
  }
  return number;
}

void LatticeBuilder::CopyState(int32_t state, const std::vector<int32_t>& numbers,
                               Lattice* lattice) {
  for (int32_t i = offsets_[state]; i < offsets_[state + 1]; ++i) {
    LatticeArc arc = arcs_[i];
    arc.nextstate = numbers[arc.nextstate];
    if (arc.nextstate < 0) continue;
    if (compact_) arc.ilabel = CopyString(arc.ilabel, lattice);
    lattice->arcs.push_back(arc);
  }
  const bool is_final = IsFinal(finals_[state]);
  if (compact_) {
    lattice->final_strings.push_back(is_final ? CopyString(final_strings_[state], lattice) : 0);
  }
  lattice->EndState(is_final ? finals_[state] : LatticeCost());
}

Lattice LatticeBuilder::Build(int32_t start) {
  Lattice lattice;
  if (compact_) {
    lattice.string_offsets = {0, 0};
    string_numbers_.assign(string_offsets_.size() - 1, -1);
    string_numbers_[0] = 0;
  }
  if (NumStates() == 0) return lattice;
  SortArcsByState();
  std::vector<int32_t> order = Order(start);
  if (IsSorted(start)) std::sort(order.begin(), order.end());
  const std::vector<int32_t> numbers = Number(order);
  for (const int32_t state : order) {
    if (numbers[state] >= 0) CopyState(state, numbers, &lattice);
  }
  return lattice;
}

}  // namespace kdspeech
