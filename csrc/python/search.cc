// Decoding graphs, alignment and the lattice decoder for Python.
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "decode/decoder.h"
#include "decode/graph.h"
#include "decode/mapped_file.h"
#include "decode/openfst.h"
#include "feat/error.h"
#include "python/lattice.h"
#include "python/pybind.h"

namespace py = pybind11;

namespace kdspeech {

namespace {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

Graph ReadGraph(const std::string& path) {
  const MappedFile file(path);
  return ReadOpenFst(file.Data(), file.Size());
}

Graph GraphFromBytes(const py::buffer& bytes) {
  const py::buffer_info info = bytes.request();
  py::gil_scoped_release release;
  return ReadOpenFst(static_cast<const char*>(info.ptr), info.size * info.itemsize);
}

// Arcs by state: where the arcs of each state begin, and the numbers of the arcs in that order.
struct ArcOrder {
  std::vector<int64_t> begins, arcs;

  ArcOrder(const Array<int32_t>& sources, int64_t num_states)
      : begins(num_states + 1, 0), arcs(sources.size()) {
    for (int64_t i = 0; i < sources.size(); ++i) {
      const int32_t source = sources.data()[i];
      if (source < 0 || source >= num_states) {
        throw InputError("graph: arc " + std::to_string(i) + " leaves state " +
                         std::to_string(source) + " of " + std::to_string(num_states));
      }
      ++begins[source + 1];
    }
    for (int64_t s = 0; s < num_states; ++s) begins[s + 1] += begins[s];
    std::vector<int64_t> next(begins);
    for (int64_t i = 0; i < sources.size(); ++i) arcs[next[sources.data()[i]]++] = i;
  }
};

Graph GraphFromArrays(const Array<int32_t>& sources, const Array<int32_t>& nexts,
                      const Array<int32_t>& tids, const Array<int32_t>& words,
                      const Array<float>& costs, const Array<float>& finals, int64_t start) {
  const py::ssize_t size = sources.size();
  if (nexts.size() != size || tids.size() != size || words.size() != size || costs.size() != size) {
    throw py::value_error("graph: vectors of one length expected");
  }
  const int64_t num_states = finals.size();
  const ArcOrder order(sources, num_states);
  GraphBuilder builder;
  builder.Reserve(num_states, size);
  std::vector<GraphArc> arcs;
  for (int64_t s = 0; s < num_states; ++s) {
    arcs.clear();
    for (int64_t i = order.begins[s]; i < order.begins[s + 1]; ++i) {
      const int64_t arc = order.arcs[i];
      arcs.push_back({tids.data()[arc], words.data()[arc], nexts.data()[arc], costs.data()[arc]});
    }
    builder.AddState(arcs.data(), static_cast<int64_t>(arcs.size()), finals.data()[s]);
  }
  return builder.Build(start);
}

// A view of the graph's own memory, kept alive by the graph.
template <class T>
py::array View(const T* data, int64_t size, const py::object& owner) {
  py::array_t<T> array(static_cast<py::ssize_t>(size), data, owner);
  array.attr("setflags")(py::arg("write") = false);
  return std::move(array);
}

Loglikes LoglikesOf(const Array<float>& array) {
  if (array.ndim() != 2) throw py::value_error("log-likelihoods: (frames, pdfs) expected");
  return {array.data(), array.shape(0), array.shape(1)};
}

std::vector<int32_t> VectorOf(const Array<int32_t>& array) {
  return std::vector<int32_t>(array.data(), array.data() + array.size());
}

Alignment PyAlign(const Graph& graph, const Array<float>& loglikes,
                  const Array<int32_t>& tid_to_pdf, const SearchOptions& options,
                  float retry_beam) {
  const Loglikes scores = LoglikesOf(loglikes);
  std::vector<int32_t> pdfs = VectorOf(tid_to_pdf);
  py::gil_scoped_release release;
  return Align(std::make_shared<const ScoredGraph>(graph, std::move(pdfs)), options, retry_beam,
               scores);
}

// The decoder of one graph and model. Any number of threads may decode with it; its stream is for
// one at a time.
class PyDecoder {
 public:
  PyDecoder(const Graph& graph, const Array<int32_t>& tid_to_pdf, const SearchOptions& search,
            const Array<int32_t>& phone_starts)
      : graph_(std::make_shared<const ScoredGraph>(graph, VectorOf(tid_to_pdf))),
        options_({search, VectorOf(phone_starts)}),
        stream_(graph_, search) {
    if (phone_starts.size() != 0 && phone_starts.size() <= graph.MaxTid()) {
      throw InputError("the graph has transition ids that the model to determinize with lacks");
    }
  }

  std::vector<Decoded> DecodeAll(const std::vector<Array<float>>& utterances,
                                 int64_t num_threads) const {
    std::vector<Loglikes> loglikes;
    for (const Array<float>& array : utterances) loglikes.push_back(LoglikesOf(array));
    py::gil_scoped_release release;
    return DecodeBatch(graph_, options_, loglikes, num_threads);
  }

  void Start() {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    stream_.Start();
    started_ = true;
  }

  void Advance(const Array<float>& chunk) {
    const Loglikes loglikes = LoglikesOf(chunk);
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    CheckStarted();
    stream_.Advance(loglikes.data, loglikes.num_frames, loglikes.num_pdfs);
  }

  BestPath Partial() {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    CheckStarted();
    return stream_.Best(false);
  }

  Decoded Finish() {
    py::gil_scoped_release release;
    const std::lock_guard<std::mutex> lock(mutex_);
    CheckStarted();
    started_ = false;
    return kdspeech::Finish(options_, &stream_);
  }

 private:
  void CheckStarted() const {
    if (!started_) throw InputError("decoder: start() comes first");
  }

  std::shared_ptr<const ScoredGraph> graph_;
  DecoderOptions options_;
  Search stream_;
  bool started_ = false;
  std::mutex mutex_;
};

void PybindGraph(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(GraphArc, tid, word, next, cost);
  py::class_<Graph>(m, "Graph")
      .def_property_readonly("num_states", &Graph::NumStates)
      .def_property_readonly("num_arcs", &Graph::NumArcs)
      .def_property_readonly("start", &Graph::Start)
      .def_property_readonly("max_tid", &Graph::MaxTid)
      .def_property_readonly("max_word", &Graph::MaxWord)
      .def_property_readonly("offsets",
                             [](const py::object& self) {
                               const Graph& graph = self.cast<const Graph&>();
                               return View(graph.Offsets(), 2 * graph.NumStates() + 1, self);
                             })
      .def_property_readonly("arcs",
                             [](const py::object& self) {
                               const Graph& graph = self.cast<const Graph&>();
                               return View(graph.Arcs(), graph.NumArcs(), self);
                             })
      .def_property_readonly("finals",
                             [](const py::object& self) {
                               const Graph& graph = self.cast<const Graph&>();
                               return View(graph.Finals(), graph.NumStates(), self);
                             })
      .def("write", &Graph::Write, py::call_guard<py::gil_scoped_release>());
  m.def("open_graph", &Graph::Open, py::call_guard<py::gil_scoped_release>());
  m.def("read_openfst", &ReadGraph, py::call_guard<py::gil_scoped_release>());
  m.def("graph_from_openfst", &GraphFromBytes);
  m.def("graph_from_arrays", &GraphFromArrays);
}

void PybindOptions(py::module_& m) {
  py::class_<SearchOptions>(m, "SearchOptions")
      .def(py::init<>())
      .def_readwrite("beam", &SearchOptions::beam)
      .def_readwrite("lattice_beam", &SearchOptions::lattice_beam)
      .def_readwrite("max_active", &SearchOptions::max_active)
      .def_readwrite("min_active", &SearchOptions::min_active)
      .def_readwrite("prune_interval", &SearchOptions::prune_interval)
      .def_readwrite("beam_delta", &SearchOptions::beam_delta)
      .def_readwrite("prune_scale", &SearchOptions::prune_scale)
      .def_readwrite("acoustic_scale", &SearchOptions::acoustic_scale)
      .def_readwrite("best_only", &SearchOptions::best_only);
}

void PybindBestPath(py::module_& m) {
  py::class_<BestPath>(m, "BestPath")
      .def_property_readonly(
          "tids", [](const BestPath& p) { return Array<int32_t>(p.tids.size(), p.tids.data()); })
      .def_property_readonly(
          "words", [](const BestPath& p) { return Array<int32_t>(p.words.size(), p.words.data()); })
      .def_readonly("graph_cost", &BestPath::graph_cost)
      .def_readonly("acoustic_cost", &BestPath::acoustic_cost)
      .def_readonly("reached_final", &BestPath::reached_final);
  py::class_<Alignment>(m, "Alignment")
      .def_readonly("path", &Alignment::path)
      .def_readonly("retried", &Alignment::retried);
}

void PybindDecoder(py::module_& m) {
  py::class_<Decoded>(m, "Decoded")
      .def_readonly("best", &Decoded::best)
      .def_readonly("problem", &Decoded::problem)
      .def("take_lattice", [](Decoded& self) { return PyLattice(std::move(self.lattice)); })
      .def("take_compact", [](Decoded& self) { return PyLattice(std::move(self.compact)); });
  py::class_<PyDecoder>(m, "Decoder")
      .def(py::init<const Graph&, const Array<int32_t>&, const SearchOptions&,
                    const Array<int32_t>&>())
      .def("decode", &PyDecoder::DecodeAll)
      .def("start", &PyDecoder::Start)
      .def("advance", &PyDecoder::Advance)
      .def("partial", &PyDecoder::Partial)
      .def("finish", &PyDecoder::Finish);
}

}  // namespace

void PybindSearch(py::module_& module) {
  py::module_ m = module.def_submodule("decode");
  PybindGraph(m);
  PybindOptions(m);
  PybindBestPath(m);
  m.def("align", &PyAlign);
  PybindDecoder(m);
}

}  // namespace kdspeech
