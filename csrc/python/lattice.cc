// Lattices for Python.
#include "python/lattice.h"

#include "decode/lattice_align.h"
#include "decode/lattice_determinize.h"
#include "decode/lattice_io.h"
#include "decode/lattice_mbr.h"
#include "decode/lattice_path.h"
#include "decode/lattice_rescore.h"
#include "feat/error.h"

namespace py = pybind11;

namespace kdspeech {

namespace {

constexpr char kWordPositions[] = "?nbeis";  // in the order of WordPosition

template <class T>
using Array = PyLattice::Array<T>;

template <class T>
py::object ReadOnly(const Array<T>& array, const char* name) {
  if (array.ndim() != 1) throw py::value_error(std::string("lattice: ") + name + ": no vector");
  py::object view = array.attr("view")();
  view.attr("setflags")(py::arg("write") = false);
  return view;
}

py::object OptionalIntegers(const py::object& array, const char* name) {
  return array.is_none() ? array : ReadOnly(array.cast<Array<int32_t>>(), name);
}

template <class T>
std::vector<T> ToVector(const Array<T>& array) {
  return std::vector<T>(array.data(), array.data() + array.size());
}

template <class T>
const T* Data(const py::object& array) {
  return array.is_none() ? nullptr : py::reinterpret_borrow<Array<T>>(array).data();
}

template <class T = py::array>
int64_t Size(const py::object& array) {
  return array.is_none() ? 0 : py::reinterpret_borrow<T>(array).size();
}

std::vector<LatticePath> PyNBest(const PyLattice& lattice, const LatticeScales& scales, int32_t n) {
  py::gil_scoped_release release;
  return NBest(lattice.View(), scales, n);
}

// Calls `function`, which returns a Lattice, without the GIL.
template <class Function>
PyLattice Released(const Function& function) {
  Lattice lattice;
  {
    py::gil_scoped_release release;
    lattice = function();
  }
  return PyLattice(std::move(lattice));
}

PyLattice PyPrune(const PyLattice& lattice, const LatticeScales& scales, double beam) {
  return Released([&] { return Prune(lattice.View(), scales, beam); });
}

// `positions`: a letter of kWordPositions for each phone.
PyLattice PyAlignWords(const PyLattice& lattice, const Array<int32_t>& tid_to_phone,
                       const Array<bool>& is_final, const Array<bool>& is_self_loop,
                       const std::string& positions, bool reorder) {
  if (!lattice.View().IsCompact()) throw py::value_error("word alignment: lattice is not compact");
  WordAlignOptions options;
  options.tid_to_phone = ToVector(tid_to_phone);
  options.is_final.assign(is_final.data(), is_final.data() + is_final.size());
  options.is_self_loop.assign(is_self_loop.data(), is_self_loop.data() + is_self_loop.size());
  options.reorder = reorder;
  for (const char letter : positions) {
    const size_t position = std::string(kWordPositions).find(letter);
    if (position == std::string::npos) throw py::value_error("word alignment: no such position");
    options.positions.push_back(static_cast<WordPosition>(position));
  }
  return Released([&] { return AlignWords(lattice.View(), options); });
}

// (words, confidences, begins, ends, risk, [([(word, posterior), ..], (begin, end)), ..]).
py::tuple PyMbr(const PyLattice& lattice, const LatticeScales& scales, bool decode_mbr) {
  MbrResult result;
  {
    py::gil_scoped_release release;
    result = MbrDecode(lattice.View(), scales, decode_mbr);
  }
  py::list sausage;
  for (const SausageBin& bin : result.sausage) {
    sausage.append(py::make_tuple(bin.words, py::make_tuple(bin.begin, bin.end)));
  }
  return py::make_tuple(ToArray(result.words), ToArray(result.confidences), ToArray(result.begins),
                        ToArray(result.ends), result.bayes_risk, sausage);
}

// (lattice, effective beam).
py::tuple PyDeterminize(const PyLattice& lattice, const Array<int32_t>& phone_starts,
                        double acoustic_scale, double beam, int64_t max_mem,
                        bool phone_determinize) {
  if (lattice.View().IsCompact()) throw py::value_error("determinize: lattice is compact");
  if (!(beam > 0.0)) throw py::value_error("determinize: beam must be positive");
  const DeterminizeOptions options{acoustic_scale, beam, max_mem, phone_determinize};
  const std::vector<int32_t> starts = ToVector(phone_starts);
  double effective_beam = beam;
  PyLattice result = Released(
      [&] { return DeterminizePhonePruned(lattice.View(), starts, options, &effective_beam); });
  return py::make_tuple(result, effective_beam);
}

// (key, lattice, bytes of the entry) of the entry at `begin`, or None if `data` ends before it
// does.
py::object PyReadEntry(const py::buffer& data, int64_t begin) {
  const py::buffer_info info = data.request();
  const int64_t size = info.size * info.itemsize;
  if (begin < 0 || begin > size) throw py::index_error("begin lies outside the data");
  ArchiveEntry entry;
  bool complete;
  {
    py::gil_scoped_release release;
    complete = ReadArchiveEntry(static_cast<const char*>(info.ptr) + begin, size - begin, &entry);
  }
  if (!complete) return py::none();
  return py::make_tuple(py::bytes(entry.key), PyLattice(std::move(entry.lattice)), entry.size);
}

py::bytes PyEntryBytes(const std::string& key, const PyLattice& lattice, bool binary) {
  return binary ? ArchiveEntryBinary(key, lattice.View()) : ArchiveEntryText(key, lattice.View());
}

PyLattice PyRescoreLm(const PyLattice& lattice,
                      const std::vector<std::pair<const Grammar*, double>>& terms) {
  std::vector<GrammarTerm> all;
  for (const auto& [grammar, scale] : terms) all.push_back({grammar, scale});
  return Released([&] { return RescoreLm(lattice.View(), all); });
}

void PybindGrammar(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(Grammar::Arc, word, next, cost);
  m.attr("GRAMMAR_ARC_DTYPE") = py::dtype::of<Grammar::Arc>();
  py::class_<Grammar>(m, "Grammar")
      .def(py::init([](const Array<int64_t>& offsets, const Array<Grammar::Arc>& arcs,
                       const Array<float>& finals, int32_t start, int32_t backoff) {
             return Grammar(ToVector(offsets), ToVector(arcs), ToVector(finals), start, backoff);
           }),
           py::arg("offsets"), py::arg("arcs").noconvert(), py::arg("finals"), py::arg("start"),
           py::arg("backoff"));
  m.def("rescore_lattice_lm", &PyRescoreLm, py::arg("lattice"), py::arg("terms"));
}

void PybindPaths(py::module_& m) {
  py::class_<LatticeScales>(m, "LatticeScales")
      .def(py::init([](double acoustic_scale, double lm_scale, double word_ins_penalty) {
             return LatticeScales{acoustic_scale, lm_scale, word_ins_penalty};
           }),
           py::arg("acoustic_scale"), py::arg("lm_scale"), py::arg("word_ins_penalty") = 0.0);
  py::class_<LatticePath>(m, "LatticePath")
      .def_property_readonly("words", [](const LatticePath& p) { return ToArray(p.words); })
      .def_property_readonly("begins", [](const LatticePath& p) { return ToArray(p.begins); })
      .def_property_readonly("ends", [](const LatticePath& p) { return ToArray(p.ends); })
      .def_property_readonly("tids", [](const LatticePath& p) { return ToArray(p.tids); })
      .def_readonly("graph_cost", &LatticePath::graph_cost)
      .def_readonly("acoustic_cost", &LatticePath::acoustic_cost);
  m.def("lattice_nbest", &PyNBest, py::arg("lattice"), py::arg("scales"), py::arg("n"));
  m.def("lattice_mbr", &PyMbr, py::arg("lattice"), py::arg("scales"), py::arg("decode_mbr"));
  m.def("lattice_prune", &PyPrune, py::arg("lattice"), py::arg("scales"), py::arg("beam"));
}

}  // namespace

PyLattice::PyLattice(Array<int32_t> offsets, Array<LatticeArc> arcs, Array<LatticeCost> finals,
                     const py::object& final_strings, const py::object& string_offsets,
                     const py::object& tids)
    : offsets_(ReadOnly(offsets, "offsets")),
      arcs_(ReadOnly(arcs, "arcs")),
      finals_(ReadOnly(finals, "finals")),
      final_strings_(OptionalIntegers(final_strings, "final_strings")),
      string_offsets_(OptionalIntegers(string_offsets, "string_offsets")),
      tids_(OptionalIntegers(tids, "tids")) {
  if (string_offsets_.is_none() != tids_.is_none() ||
      string_offsets_.is_none() != final_strings_.is_none()) {
    throw py::value_error("lattice: strings need final_strings, string_offsets and tids");
  }
  if (!tids_.is_none() && (Size(final_strings_) != Size(finals_) || Size(string_offsets_) < 2)) {
    throw py::value_error("lattice: a final string for every state and string 0 expected");
  }
  if (Size(arcs_) > std::numeric_limits<int32_t>::max()) throw py::value_error("lattice: too big");
  SetView();
  CheckLattice(view_, Size(offsets_), Size(arcs_), Size(string_offsets_), Size(tids_));
}

PyLattice::PyLattice(Lattice lattice)
    : offsets_(ToArray(std::move(lattice.offsets))),
      arcs_(ToArray(std::move(lattice.arcs))),
      finals_(ToArray(std::move(lattice.finals))) {
  if (lattice.IsCompact()) {
    final_strings_ = ToArray(std::move(lattice.final_strings));
    string_offsets_ = ToArray(std::move(lattice.string_offsets));
    tids_ = ToArray(std::move(lattice.tids));
  } else {
    final_strings_ = string_offsets_ = tids_ = py::none();
  }
  SetView();
}

// Two threads at once may both count, which does no harm.
std::shared_ptr<const TimedLattice> PyLattice::Timed() const {
  std::shared_ptr<const TimedLattice> timed = std::atomic_load(&timed_);
  if (!timed) {
    timed = std::make_shared<const TimedLattice>(view_);
    std::atomic_store(&timed_, timed);
  }
  return timed;
}

void PyLattice::SetView() {
  view_.num_states = static_cast<int32_t>(Size(finals_));
  view_.num_strings =
      string_offsets_.is_none() ? 0 : static_cast<int32_t>(Size(string_offsets_) - 1);
  view_.offsets = Data<int32_t>(offsets_);
  view_.arcs = Data<LatticeArc>(arcs_);
  view_.finals = Data<LatticeCost>(finals_);
  view_.final_strings = Data<int32_t>(final_strings_);
  view_.string_offsets = Data<int32_t>(string_offsets_);
  view_.tids = Data<int32_t>(tids_);
}

void PybindLattice(py::module_& module) {
  py::module_ m = module.def_submodule("decode", "Lattices and the search that makes them");
  PYBIND11_NUMPY_DTYPE(LatticeArc, ilabel, olabel, nextstate, graph_cost, acoustic_cost);
  PYBIND11_NUMPY_DTYPE(LatticeCost, graph_cost, acoustic_cost);
  py::class_<PyLattice>(m, "Lattice")
      .def(py::init<Array<int32_t>, Array<LatticeArc>, Array<LatticeCost>, const py::object&,
                    const py::object&, const py::object&>(),
           py::arg("offsets").noconvert(), py::arg("arcs").noconvert(),
           py::arg("finals").noconvert(), py::arg("final_strings") = py::none(),
           py::arg("string_offsets") = py::none(), py::arg("tids") = py::none())
      .def_property_readonly("offsets", &PyLattice::Offsets)
      .def_property_readonly("arcs", &PyLattice::Arcs)
      .def_property_readonly("finals", &PyLattice::Finals)
      .def_property_readonly("final_strings", &PyLattice::FinalStrings)
      .def_property_readonly("string_offsets", &PyLattice::StringOffsets)
      .def_property_readonly("tids", &PyLattice::Tids);
  m.attr("ARC_DTYPE") = py::dtype::of<LatticeArc>();
  m.attr("COST_DTYPE") = py::dtype::of<LatticeCost>();
  m.def("lattice_state_times", [](const PyLattice& lattice) {
    return ToArray(std::vector<int32_t>(lattice.Timed()->times));
  });
  m.def("lattice_to_state_level", [](const PyLattice& lattice) {
    return Released([&] { return ToStateLevel(lattice.View()); });
  });
  m.def("lattice_to_compact", [](const PyLattice& lattice) {
    return Released([&] { return ToCompact(lattice.View()); });
  });
  m.def("lattice_align_words", &PyAlignWords, py::arg("lattice"), py::arg("tid_to_phone"),
        py::arg("is_final"), py::arg("is_self_loop"), py::arg("positions"), py::arg("reorder"));
  PybindPaths(m);
  PybindGrammar(m);
  PybindLatticePosterior(m);
  m.def("lattice_determinize", &PyDeterminize, py::arg("lattice"), py::arg("phone_starts"),
        py::arg("acoustic_scale"), py::arg("beam"), py::arg("max_mem"),
        py::arg("phone_determinize"));
  m.def("read_lattice_entry", &PyReadEntry, py::arg("data"), py::arg("begin"));
  m.def("lattice_entry_bytes", &PyEntryBytes, py::arg("key"), py::arg("lattice"),
        py::arg("binary"));
}

}  // namespace kdspeech
