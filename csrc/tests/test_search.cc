// Graphs and the search under the sanitizers: lattices of random graphs against forward and
// backward costs of all states, chunks, threads, and damaged files.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "decode/decoder.h"
#include "decode/graph.h"
#include "decode/openfst.h"
#include "decode/search.h"
#include "feat/error.h"

using namespace kdspeech;

namespace {

#define CHECK(condition)                                                   \
  do {                                                                     \
    if (!(condition)) {                                                    \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                        \
    }                                                                      \
  } while (false)

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr int kNumTids = 12, kNumPdfs = 5;

struct Arc {
  int32_t source;
  GraphArc arc;
};

// A random graph, its arcs, and its final costs. Epsilon arcs lead to higher states.
struct RandomGraph {
  std::vector<Arc> arcs;
  std::vector<float> finals;
  std::vector<int32_t> tid_to_pdf{-1};
  Graph graph;

  RandomGraph(int32_t num_states, int num_arcs, std::mt19937* random)
      : graph(Make(num_states, num_arcs, random)) {
    for (int tid = 1; tid <= kNumTids; ++tid) tid_to_pdf.push_back((*random)() % kNumPdfs);
  }

  Graph Make(int32_t num_states, int num_arcs, std::mt19937* random) {
    std::uniform_real_distribution<float> cost(0.0f, 4.0f);
    std::vector<std::vector<GraphArc>> by_state(num_states);
    for (int i = 0; i < num_arcs; ++i) {
      const int32_t source = (*random)() % num_states;
      int32_t next = (*random)() % num_states;
      const bool epsilon = (*random)() % 4 == 0 && source < num_states - 1;
      if (epsilon) next = source + 1 + (*random)() % (num_states - source - 1);
      const int32_t tid = epsilon ? 0 : 1 + (*random)() % kNumTids;
      by_state[source].push_back({tid, static_cast<int32_t>((*random)() % 3), next, cost(*random)});
      arcs.push_back({source, by_state[source].back()});
    }
    GraphBuilder builder;
    for (int32_t s = 0; s < num_states; ++s) {
      finals.push_back((*random)() % 3 == 0 || s == 0 ? cost(*random) : kInfinity);
      builder.AddState(by_state[s].data(), static_cast<int64_t>(by_state[s].size()), finals[s]);
    }
    return builder.Build(0);
  }
};

std::vector<float> RandomLoglikes(int64_t num_frames, std::mt19937* random) {
  std::normal_distribution<float> value(-5.0f, 3.0f);
  std::vector<float> loglikes(num_frames * kNumPdfs);
  for (float& x : loglikes) x = value(*random);
  return loglikes;
}

// Costs of the best paths to and from each state at each frame, by Bellman's equation in double.
struct AllCosts {
  std::vector<std::vector<double>> forward, backward;

  AllCosts(const RandomGraph& g, const std::vector<float>& loglikes, double scale) {
    const int64_t num_frames = static_cast<int64_t>(loglikes.size()) / kNumPdfs;
    const size_t size = g.finals.size();
    forward.assign(num_frames + 1, std::vector<double>(size, kInfinity));
    backward = forward;
    forward[0][0] = 0;
    bool any_final = false;
    for (int64_t t = 0; t <= num_frames; ++t) {
      CloseForward(g, t);
      if (t == num_frames) break;
      for (const Arc& a : g.arcs) {
        if (a.arc.tid)
          Lower(forward[t][a.source] + Cost(g, a, loglikes, t, scale), t + 1, a.arc.next);
      }
    }
    for (size_t s = 0; s < size; ++s) {
      any_final |= forward[num_frames][s] < kInfinity && g.finals[s] < kInfinity;
    }
    for (size_t s = 0; s < size; ++s) backward[num_frames][s] = any_final ? g.finals[s] : 0.0;
    for (int64_t t = num_frames; t >= 0; --t) {
      for (const Arc& a : g.arcs) {
        if (!a.arc.tid || t == num_frames) continue;
        double& cost = backward[t][a.source];
        cost = std::min(cost, Cost(g, a, loglikes, t, scale) + backward[t + 1][a.arc.next]);
      }
      CloseBackward(g, t);
    }
  }

  static double Cost(const RandomGraph& g, const Arc& a, const std::vector<float>& loglikes,
                     int64_t t, double scale) {
    return a.arc.cost - scale * loglikes[t * kNumPdfs + g.tid_to_pdf[a.arc.tid]];
  }

  void Lower(double cost, int64_t t, int32_t s) { forward[t][s] = std::min(forward[t][s], cost); }

  void CloseForward(const RandomGraph& g, int64_t t) {
    for (size_t pass = 0; pass < g.finals.size(); ++pass) {
      for (const Arc& a : g.arcs) {
        if (!a.arc.tid) Lower(forward[t][a.source] + a.arc.cost, t, a.arc.next);
      }
    }
  }

  void CloseBackward(const RandomGraph& g, int64_t t) {
    for (size_t pass = 0; pass < g.finals.size(); ++pass) {
      for (const Arc& a : g.arcs) {
        double& cost = backward[t][a.source];
        if (!a.arc.tid) cost = std::min(cost, a.arc.cost + backward[t][a.arc.next]);
      }
    }
  }
};

using LatticeKey = std::tuple<int64_t, int32_t, int32_t, float>;  // frame, tid, word, graph cost

std::vector<LatticeKey> ExpectedArcs(const RandomGraph& g, const std::vector<float>& loglikes,
                                     double scale, double lattice_beam) {
  const AllCosts costs(g, loglikes, scale);
  const int64_t num_frames = static_cast<int64_t>(loglikes.size()) / kNumPdfs;
  const double limit = costs.backward[0][0] + lattice_beam;
  std::vector<LatticeKey> keys;
  for (int64_t t = 0; t <= num_frames; ++t) {
    for (const Arc& a : g.arcs) {
      if (a.arc.tid && t == num_frames) continue;
      const double cost = a.arc.tid ? AllCosts::Cost(g, a, loglikes, t, scale) : a.arc.cost;
      const double after = costs.backward[a.arc.tid ? t + 1 : t][a.arc.next];
      if (costs.forward[t][a.source] + cost + after > limit) continue;
      keys.push_back({t, a.arc.tid, a.arc.word, a.arc.cost});
    }
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::vector<LatticeKey> FoundArcs(const Lattice& lattice) {
  const LatticeView view = lattice.View();
  CheckLattice(view, view.num_states + 1, static_cast<int64_t>(lattice.arcs.size()), 0, 0);
  const std::vector<int32_t> times = StateTimes(view);
  std::vector<LatticeKey> keys;
  for (int32_t s = 0; s < view.num_states; ++s) {
    for (const LatticeArc* arc = view.Begin(s); arc < view.End(s); ++arc) {
      keys.push_back({times[s], arc->ilabel, arc->olabel, arc->graph_cost});
    }
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

SearchOptions Options(int32_t prune_interval, bool best_only = false) {
  SearchOptions options;
  options.beam = 1000;
  options.lattice_beam = 5;
  options.acoustic_scale = 0.7f;
  options.prune_interval = prune_interval;
  options.best_only = best_only;
  return options;
}

std::shared_ptr<const ScoredGraph> Scored(const RandomGraph& g) {
  return std::make_shared<const ScoredGraph>(g.graph, g.tid_to_pdf);
}

// The search without a beam leaves exactly the arcs of the paths within lattice_beam.
void TestLattices() {
  std::mt19937 random(1);
  int compared = 0;
  for (int i = 0; i < 300; ++i) {
    const int32_t num_states = 1 + random() % 12;
    const RandomGraph g(num_states, 1 + random() % (4 * num_states), &random);
    const int64_t num_frames = 1 + random() % 30;
    const std::vector<float> loglikes = RandomLoglikes(num_frames, &random);
    Search search(Scored(g), Options(1 + random() % 8));
    search.Start();
    search.Advance(loglikes.data(), num_frames, kNumPdfs);
    const AllCosts costs(g, loglikes, 0.7f);
    CHECK(search.Alive() == (costs.backward[0][0] < kInfinity));
    if (!search.Alive()) continue;
    const BestPath best = search.Best(true);
    CHECK(std::abs(best.graph_cost + 0.7f * best.acoustic_cost - costs.backward[0][0]) < 1e-3);
    CHECK(static_cast<int64_t>(best.tids.size()) == num_frames);
    search.Finish();
    CHECK(FoundArcs(search.RawLattice()) == ExpectedArcs(g, loglikes, 0.7f, 5.0));
    ++compared;
  }
  CHECK(compared > 100);
}

// Chunks, best_only and a search that was used before change nothing.
void TestStreaming() {
  std::mt19937 random(2);
  const RandomGraph g(20, 100, &random);
  const auto scored = Scored(g);
  Search used(scored, Options(4));
  for (int i = 0; i < 20; ++i) {
    const int64_t num_frames = 1 + random() % 60;
    const std::vector<float> loglikes = RandomLoglikes(num_frames, &random);
    used.Start();
    for (int64_t t = 0; t < num_frames; ++t) {
      used.Advance(loglikes.data() + t * kNumPdfs, 1, kNumPdfs);
      CHECK(static_cast<int64_t>(used.Best(false).tids.size()) == t + 1);
    }
    const BestPath streamed = used.Best(true);
    for (const bool best_only : {false, true}) {
      const Decoded decoded = DecodeBatch(scored, {Options(25, best_only), {}},
                                          {{loglikes.data(), num_frames, kNumPdfs}}, 1)[0];
      CHECK(decoded.problem.empty());
      CHECK(decoded.best.tids == streamed.tids);
      CHECK(decoded.best.graph_cost == streamed.graph_cost);
    }
  }
}

void TestThreads() {
  std::mt19937 random(3);
  const RandomGraph g(50, 300, &random);
  std::vector<std::vector<float>> loglikes;
  std::vector<Loglikes> utterances;
  for (int i = 0; i < 20; ++i) loglikes.push_back(RandomLoglikes(random() % 40, &random));
  loglikes[7].assign(3 * kNumPdfs, std::nanf(""));
  for (const std::vector<float>& x : loglikes) {
    utterances.push_back({x.data(), static_cast<int64_t>(x.size()) / kNumPdfs, kNumPdfs});
  }
  SearchOptions options;
  options.max_active = 20;
  options.min_active = 2;
  options.beam = 4;
  const auto alone = DecodeBatch(Scored(g), {options, {}}, utterances, 1);
  const auto together = DecodeBatch(Scored(g), {options, {}}, utterances, 4);
  for (size_t i = 0; i < alone.size(); ++i) {
    CHECK(alone[i].best.tids == together[i].best.tids);
    CHECK(alone[i].problem == together[i].problem);
  }
  CHECK(!alone[7].problem.empty());
}

template <class T>
void Append(std::string* bytes, const T& value) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string OpenFstBytes(const RandomGraph& g, bool is_const) {
  std::string bytes;
  Append(&bytes, int32_t{2125659606});
  const std::string type = is_const ? "const" : "vector", arcs = "standard";
  Append(&bytes, static_cast<int32_t>(type.size()));
  bytes += type;
  Append(&bytes, static_cast<int32_t>(arcs.size()));
  bytes += arcs;
  Append(&bytes, int32_t{2});
  Append(&bytes, int32_t{0});
  for (const int64_t value : {int64_t{0}, int64_t{0}, static_cast<int64_t>(g.finals.size()),
                              static_cast<int64_t>(g.arcs.size())}) {
    Append(&bytes, value);
  }
  std::string all_arcs;
  uint32_t first = 0;
  for (size_t s = 0; s < g.finals.size(); ++s) {
    std::string state_arcs;
    uint32_t count = 0;
    for (const Arc& a : g.arcs) {
      if (a.source != static_cast<int32_t>(s)) continue;
      for (const int32_t x : {a.arc.tid, a.arc.word}) Append(&state_arcs, x);
      Append(&state_arcs, a.arc.cost);
      Append(&state_arcs, a.arc.next);
      ++count;
    }
    Append(&bytes, g.finals[s]);
    if (is_const) {
      for (const uint32_t x : {first, count, 0u, 0u}) Append(&bytes, x);
      all_arcs += state_arcs;
    } else {
      Append(&bytes, int64_t{count});
      bytes += state_arcs;
    }
    first += count;
  }
  return bytes + all_arcs;
}

bool Same(const Graph& a, const Graph& b) {
  const size_t arcs = sizeof(GraphArc) * a.NumArcs(), offsets = 4 * (2 * a.NumStates() + 1);
  return a.NumStates() == b.NumStates() && a.NumArcs() == b.NumArcs() &&
         std::memcmp(a.Arcs(), b.Arcs(), arcs) == 0 &&
         std::memcmp(a.Offsets(), b.Offsets(), offsets) == 0 &&
         std::memcmp(a.Finals(), b.Finals(), 4 * a.NumStates()) == 0;
}

// Changes some bytes, or cuts the end off.
std::string Damaged(std::string bytes, std::mt19937* random) {
  if ((*random)() % 3 == 0) bytes.resize((*random)() % bytes.size());
  for (int i = 1 + (*random)() % 4; i > 0 && !bytes.empty(); --i) {
    const size_t within = (*random)() % 2 ? std::min<size_t>(bytes.size(), 120) : bytes.size();
    const char values[] = {0, 1, 0x7f, static_cast<char>(0x80), static_cast<char>(0xff)};
    bytes[(*random)() % within] = values[(*random)() % 5];
  }
  return bytes;
}

void ReadDamaged(const std::string& bytes, const std::function<Graph(const std::string&)>& read) {
  try {
    const Graph graph = read(bytes);
    std::vector<int32_t> pdfs(graph.MaxTid() < 1000 ? graph.MaxTid() + 1 : 0, 0);
    const auto scored = std::make_shared<const ScoredGraph>(graph, pdfs);
    const std::vector<float> loglikes(5, -1.0f);
    DecodeBatch(scored, {SearchOptions(), {}}, {{loglikes.data(), 5, 1}}, 1);
  } catch (const InputError&) {
  }
}

void WriteFile(const std::string& path, const std::string& bytes) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  CHECK(file && std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
  std::fclose(file);
}

std::string ReadFile(const std::string& path) {
  std::string bytes(100000, '\0');
  std::FILE* file = std::fopen(path.c_str(), "rb");
  CHECK(file);
  bytes.resize(std::fread(&bytes[0], 1, bytes.size(), file));
  std::fclose(file);
  return bytes;
}

void TestFiles() {
  std::mt19937 random(4);
  const std::string path = "test_search.graph";
  const auto read = [](const std::string& bytes) {
    // On the heap and no longer than needed, so that reads outside are caught.
    const std::vector<char> exact(bytes.begin(), bytes.end());
    return ReadOpenFst(exact.data(), exact.size());
  };
  const auto map = [&](const std::string& bytes) {
    WriteFile(path, bytes);
    return Graph::Open(path);
  };
  for (int i = 0; i < 20; ++i) {
    const RandomGraph g(1 + random() % 10, 1 + random() % 40, &random);
    g.graph.Write(path);
    const std::string compact = ReadFile(path);
    CHECK(Same(g.graph, map(compact)));
    for (const bool is_const : {false, true}) {
      const std::string bytes = OpenFstBytes(g, is_const);
      CHECK(Same(g.graph, read(bytes)));
      for (int k = 0; k < 200; ++k) ReadDamaged(Damaged(bytes, &random), read);
    }
    for (int k = 0; k < 100; ++k) ReadDamaged(Damaged(compact, &random), map);
  }
  std::remove(path.c_str());
}

void TestAlignment() {
  std::mt19937 random(5);
  const RandomGraph g(10, 40, &random);
  SearchOptions options;
  options.beam = 0.001f;
  options.min_active = 0;
  const std::vector<float> loglikes = RandomLoglikes(20, &random);
  const Loglikes utterance{loglikes.data(), 20, kNumPdfs};
  const Alignment wide = Align(Scored(g), options, 1000, utterance);
  CHECK(wide.path.reached_final && wide.path.tids.size() == 20);
  const Alignment narrow = Align(Scored(g), options, 0, utterance);
  CHECK(narrow.path.reached_final == !narrow.path.tids.empty());
}

}  // namespace

int main() {
  TestLattices();
  TestStreaming();
  TestThreads();
  TestFiles();
  TestAlignment();
  std::puts("search: all well");
  return 0;
}
