// Decoding graphs (HCLG and the training graphs of single utterances), compact and read-only.
//
// A state's arcs lie together, those without a transition id (epsilon arcs) before the emitting
// ones. The arrays lie in memory of the graph's own or in a mapped file; a Graph is a handle that
// is cheap to copy and may be read by any number of threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace kdspeech {

struct GraphArc {
  int32_t tid;   // transition id, 0 for none
  int32_t word;  // 0 for none
  int32_t next;  // state
  float cost;    // -log probability
};

class Graph {
 public:
  // Maps a file that Write wrote. Throws InputError where it is damaged.
  static Graph Open(const std::string& path);
  void Write(const std::string& path) const;

  int32_t NumStates() const { return num_states_; }
  int32_t NumArcs() const { return offsets_[2 * num_states_]; }
  int32_t Start() const { return start_; }
  int32_t MaxTid() const { return max_tid_; }
  int32_t MaxWord() const { return max_word_; }

  const GraphArc* Arcs() const { return arcs_; }
  const GraphArc* Epsilons(int32_t state) const { return arcs_ + offsets_[2 * state]; }
  const GraphArc* Emitting(int32_t state) const { return arcs_ + offsets_[2 * state + 1]; }
  const GraphArc* End(int32_t state) const { return arcs_ + offsets_[2 * state + 2]; }
  const int32_t* Offsets() const { return offsets_; }  // of Epsilons(0), Emitting(0), Epsilons(1)..
  const float* Finals() const { return finals_; }
  float Final(int32_t state) const { return finals_[state]; }  // infinity: not final

 private:
  friend class GraphBuilder;
  Graph() = default;
  void Check();

  int32_t num_states_ = 0, start_ = 0, max_tid_ = 0, max_word_ = 0;
  const int32_t* offsets_ = nullptr;  // 2 num_states + 1
  const GraphArc* arcs_ = nullptr;
  const float* finals_ = nullptr;
  std::shared_ptr<const void> memory_;  // what the pointers point into
};

// Makes a graph out of states that come in order.
class GraphBuilder {
 public:
  void Reserve(int64_t num_states, int64_t num_arcs);

  // `arcs` in any order; those of infinite cost are left out.
  void AddState(const GraphArc* arcs, int64_t num_arcs, float final_cost);

  // Throws InputError unless the states added are a graph that can be searched: arcs lead to
  // states of it, labels are not negative, costs are numbers, some state is final, and no cycle
  // consists of epsilon arcs alone.
  Graph Build(int64_t start);

 private:
  struct Arrays {
    std::vector<int32_t> offsets{0};
    std::vector<GraphArc> arcs;
    std::vector<float> finals;
  };
  Arrays arrays_;
};

}  // namespace kdspeech
