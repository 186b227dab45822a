#include "decode/graph.h"

#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>

#include "decode/mapped_file.h"
#include "feat/error.h"

namespace kdspeech {

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr char kMagic[8] = {'K', 'D', 'S', 'G', 'R', 'A', 'P', 'H'};
constexpr int32_t kVersion = 1;

// The head of a compact file; the offsets, the arcs and the final costs follow.
struct FileHead {
  char magic[8];
  int32_t version, num_states, num_arcs, start;
  int32_t reserved[2];
};

void Require(bool good, const std::string& problem) {
  if (!good) throw InputError("graph: " + problem);
}

void CheckArc(const GraphArc& arc, int32_t state, int32_t num_states, bool emitting) {
  const bool good = arc.next >= 0 && arc.next < num_states && arc.word >= 0 &&
                    (emitting ? arc.tid > 0 : arc.tid == 0) && std::isfinite(arc.cost);
  if (good) return;
  throw InputError("graph: an arc of state " + std::to_string(state) + " is damaged (transition " +
                   "id " + std::to_string(arc.tid) + ", word " + std::to_string(arc.word) +
                   ", next state " + std::to_string(arc.next) + " of " +
                   std::to_string(num_states) + ", cost " + std::to_string(arc.cost) + ")");
}

// Throws where epsilon arcs make a cycle: takes away states that no epsilon arc leads to, until
// none is left or nothing can be taken.
void CheckEpsilonCycles(const Graph& graph) {
  std::vector<int32_t> incoming(graph.NumStates(), 0), free;
  const auto for_each = [&](int32_t state, const auto& visit) {
    const GraphArc* end = graph.Emitting(state);
    for (const GraphArc* arc = graph.Epsilons(state); arc < end; ++arc) visit(arc->next);
  };
  for (int32_t s = 0; s < graph.NumStates(); ++s) for_each(s, [&](int32_t n) { ++incoming[n]; });
  for (int32_t s = 0; s < graph.NumStates(); ++s) {
    if (incoming[s] == 0) free.push_back(s);
  }
  int32_t taken = 0;
  for (; !free.empty(); ++taken) {
    const int32_t state = free.back();
    free.pop_back();
    for_each(state, [&](int32_t next) {
      if (--incoming[next] == 0) free.push_back(next);
    });
  }
  Require(taken == graph.NumStates(), "some arcs without transition id form a cycle");
}

void WriteAll(std::FILE* file, const void* data, size_t size, const std::string& path) {
  if (size && std::fwrite(data, 1, size, file) != size) {
    std::fclose(file);
    throw InputError(path + ": cannot be written");
  }
}

}  // namespace

void Graph::Check() {
  Require(num_states_ > 0 && start_ >= 0 && start_ < num_states_, "it has no start state");
  Require(offsets_[0] == 0, "its offsets are damaged");
  bool climbs = true;
  for (int64_t i = 0; i < 2 * int64_t{num_states_}; ++i) climbs &= offsets_[i] <= offsets_[i + 1];
  Require(climbs, "its offsets are damaged");
  bool any_final = false;
  for (int32_t s = 0; s < num_states_; ++s) {
    for (const GraphArc* arc = Epsilons(s); arc < End(s); ++arc) {
      CheckArc(*arc, s, num_states_, arc >= Emitting(s));
      max_tid_ = arc->tid > max_tid_ ? arc->tid : max_tid_;
      max_word_ = arc->word > max_word_ ? arc->word : max_word_;
    }
    if (finals_[s] != kInfinity && !std::isfinite(finals_[s])) {
      throw InputError("graph: the final cost of state " + std::to_string(s) + " is no number");
    }
    any_final |= finals_[s] != kInfinity;
  }
  Require(any_final, "it has no final state");
  CheckEpsilonCycles(*this);
}

Graph Graph::Open(const std::string& path) {
  const auto file = std::make_shared<const MappedFile>(path);
  FileHead head;
  Require(file->Size() >= sizeof(head), "no compact graph file");
  std::memcpy(&head, file->Data(), sizeof(head));
  Require(std::memcmp(head.magic, kMagic, sizeof(kMagic)) == 0, "no compact graph file");
  Require(head.version == kVersion, "a compact graph file of another version; write it again");
  Require(head.num_states > 0 && head.num_arcs >= 0 && head.num_states < (1 << 30),
          "the file is damaged");
  const size_t offsets = 4 * (2 * size_t(head.num_states) + 1);
  const size_t arcs = sizeof(GraphArc) * size_t(head.num_arcs);
  Require(file->Size() == sizeof(head) + arcs + offsets + 4 * size_t(head.num_states),
          "the file is damaged: its length does not fit");
  Graph graph;
  graph.num_states_ = head.num_states;
  graph.start_ = head.start;
  const char* data = file->Data() + sizeof(head);
  graph.arcs_ = reinterpret_cast<const GraphArc*>(data);
  graph.offsets_ = reinterpret_cast<const int32_t*>(data + arcs);
  graph.finals_ = reinterpret_cast<const float*>(data + arcs + offsets);
  graph.memory_ = file;
  Require(graph.NumArcs() == head.num_arcs, "its offsets are damaged");
  graph.Check();
  return graph;
}

void Graph::Write(const std::string& path) const {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) throw InputError(path + ": cannot be written");
  FileHead head = {{}, kVersion, num_states_, NumArcs(), start_, {}};
  std::memcpy(head.magic, kMagic, sizeof(kMagic));
  WriteAll(file, &head, sizeof(head), path);
  WriteAll(file, arcs_, sizeof(GraphArc) * size_t(NumArcs()), path);
  WriteAll(file, offsets_, 4 * (2 * size_t(num_states_) + 1), path);
  WriteAll(file, finals_, 4 * size_t(num_states_), path);
  if (std::fclose(file) != 0) throw InputError(path + ": cannot be written");
}

void GraphBuilder::Reserve(int64_t num_states, int64_t num_arcs) {
  arrays_.offsets.reserve(2 * num_states + 1);
  arrays_.arcs.reserve(num_arcs);
  arrays_.finals.reserve(num_states);
}

void GraphBuilder::AddState(const GraphArc* arcs, int64_t num_arcs, float final_cost) {
  for (const bool emitting : {false, true}) {
    for (int64_t i = 0; i < num_arcs; ++i) {
      if ((arcs[i].tid != 0) == emitting && arcs[i].cost != kInfinity) {
        arrays_.arcs.push_back(arcs[i]);
      }
    }
    Require(arrays_.arcs.size() < (size_t{1} << 31), "more than 2147483647 arcs");
    arrays_.offsets.push_back(static_cast<int32_t>(arrays_.arcs.size()));
  }
  arrays_.finals.push_back(final_cost);
}

Graph GraphBuilder::Build(int64_t start) {
  Require(arrays_.finals.size() < (size_t{1} << 30), "too many states");
  Require(start >= 0 && start < int64_t(arrays_.finals.size()), "it has no start state");
  const auto arrays = std::make_shared<const Arrays>(std::move(arrays_));
  arrays_ = Arrays();
  Graph graph;
  graph.num_states_ = static_cast<int32_t>(arrays->finals.size());
  graph.start_ = static_cast<int32_t>(start);
  graph.offsets_ = arrays->offsets.data();
  graph.arcs_ = arrays->arcs.data();
  graph.finals_ = arrays->finals.data();
  graph.memory_ = arrays;
  graph.Check();
  return graph;
}

}  // namespace kdspeech
