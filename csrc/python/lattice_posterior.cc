// Posteriors of lattices for Python: one lattice or many, over threads.
#include "decode/lattice_posterior.h"

#include <algorithm>
#include <atomic>

#include "feat/error.h"
#include "feat/parallel.h"
#include "python/lattice.h"

namespace py = pybind11;

namespace kdspeech {

namespace {

using Matrix = py::array_t<float, py::array::c_style>;
using Integers = std::vector<int32_t>;
using IntegerArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using LatticeList = std::vector<const PyLattice*>;

Integers ToVector(const IntegerArray& array) {
  if (array.ndim() != 1) throw py::value_error("a vector of integers expected");
  return Integers(array.data(), array.data() + array.size());
}

std::vector<Integers> ToVectors(const std::vector<IntegerArray>& arrays) {
  std::vector<Integers> vectors;
  for (const IntegerArray& array : arrays) vectors.push_back(ToVector(array));
  return vectors;
}

TidTables MakeTables(const IntegerArray& pdfs, const IntegerArray& phones,
                     const Integers& silence_phones) {
  TidTables tables{ToVector(pdfs), ToVector(phones), {}};
  if (std::any_of(silence_phones.begin(), silence_phones.end(), [](int32_t p) { return p < 0; })) {
    throw py::value_error("silence phones: below 0");
  }
  for (const int32_t phone : tables.phones) {
    const auto found = std::find(silence_phones.begin(), silence_phones.end(), phone);
    tables.is_silence.push_back(found != silence_phones.end());
  }
  return tables;
}

PosteriorOptions MakeOptions(const LatticeScales& scales, const std::string& accuracy,
                             bool one_silence_class, double boost) {
  PosteriorOptions options{scales, Accuracy::kNone, one_silence_class, boost};
  if (accuracy == "smbr") {
    options.accuracy = Accuracy::kSmbr;
  } else if (accuracy == "mpfe") {
    options.accuracy = Accuracy::kMpfe;
  } else if (!accuracy.empty()) {
    throw py::value_error("no accuracy \"" + accuracy + "\": smbr or mpfe");
  }
  return options;
}

void CheckMatrix(const Matrix& matrix) {
  if (matrix.ndim() != 2) throw py::value_error("a matrix (frames, pdfs) expected");
}

std::vector<AcousticScores> ToScores(const std::vector<Matrix>& matrices) {
  std::vector<AcousticScores> scores;
  for (const Matrix& matrix : matrices) {
    CheckMatrix(matrix);
    scores.push_back({matrix.data(), matrix.shape(0), matrix.shape(1)});
  }
  return scores;
}

// What belongs to the lattices of a batch; lists are empty or have one member for each lattice.
struct Batch {
  LatticeList lattices;
  const TidTables& tables;
  const PosteriorOptions& options;
  std::vector<Matrix> loglikes;
  std::vector<Integers> alignments;

  void Check() const {
    const auto fits = [this](size_t size) { return size == 0 || size == lattices.size(); };
    if (!fits(loglikes.size()) || !fits(alignments.size())) {
      throw py::value_error("as many score matrices and alignments as lattices expected");
    }
    if (options.accuracy != Accuracy::kNone && alignments.empty() && !lattices.empty()) {
      throw py::value_error("accuracies need alignments of the references");
    }
  }
  std::vector<AcousticScores> AllScores() const {
    std::vector<AcousticScores> scores = ToScores(loglikes);
    scores.resize(lattices.size());
    return scores;
  }
  const Integers* Alignment(size_t i) const {
    return alignments.empty() ? nullptr : &alignments[i];
  }
};

// Calls work(i) for all lattices, on threads that take the next one when they are done with one.
template <class Work>
void ForEach(size_t size, int num_threads, const Work& work) {
  std::atomic<size_t> next{0};
  const auto run = [&](int64_t, int64_t) {
    for (size_t i = next++; i < size; i = next++) {
      try {
        work(i);
      } catch (const InputError& error) {
        if (size == 1) throw;
        throw InputError("number " + std::to_string(i) + " of the batch: " + error.what());
      }
    }
  };
  const int64_t threads = std::max<int64_t>(1, std::min<int64_t>(num_threads, size));
  ParallelFor(threads, threads, run);
}

py::list PyPosteriors(const LatticeList& lattices, const TidTables& tables,
                      const PosteriorOptions& options, const std::vector<Matrix>& loglikes,
                      const std::vector<IntegerArray>& alignments, int num_threads) {
  const Batch batch{lattices, tables, options, loglikes, ToVectors(alignments)};
  batch.Check();
  const std::vector<AcousticScores> scores = batch.AllScores();
  std::vector<LatticePosteriors> results(lattices.size());
  {
    py::gil_scoped_release release;
    ForEach(lattices.size(), num_threads, [&](size_t i) {
      results[i] =
          ComputePosteriors(*lattices[i]->Timed(), scores[i], tables, batch.Alignment(i), options);
    });
  }
  py::list out;
  for (LatticePosteriors& result : results) {
    out.append(py::make_tuple(ToArray(std::move(result.entries)), result.log_likelihood,
                              result.accuracy, result.num_frames));
  }
  return out;
}

std::vector<Gradient> ToGradients(std::vector<Matrix>* matrices, double factor) {
  std::vector<Gradient> out;
  for (Matrix& matrix : *matrices) {
    CheckMatrix(matrix);
    out.push_back({matrix.mutable_data(), matrix.shape(0), matrix.shape(1), factor});
  }
  return out;
}

// Adds to `gradients`; returns the log likelihoods, the accuracies and the graph costs.
py::tuple PyGradients(const LatticeList& lattices, const TidTables& tables,
                      const PosteriorOptions& options, std::vector<Matrix> gradients, double factor,
                      const std::vector<Matrix>& loglikes,
                      const std::vector<IntegerArray>& alignments, int num_threads) {
  const Batch batch{lattices, tables, options, loglikes, ToVectors(alignments)};
  batch.Check();
  const std::vector<Gradient> out = ToGradients(&gradients, factor);
  if (out.size() != lattices.size()) throw py::value_error("a gradient for each lattice expected");
  const std::vector<AcousticScores> scores = batch.AllScores();
  const size_t size = lattices.size();
  std::vector<double> log_likelihoods(size), accuracies(size), graph_costs(size);
  {
    py::gil_scoped_release release;
    ForEach(size, num_threads, [&](size_t i) {
      const LatticePosteriors result = AccumulatePosteriors(
          *lattices[i]->Timed(), scores[i], tables, batch.Alignment(i), options, out[i]);
      log_likelihoods[i] = result.log_likelihood;
      accuracies[i] = result.accuracy;
      graph_costs[i] = result.graph_cost;
    });
  }
  return py::make_tuple(ToArray(std::move(log_likelihoods)), ToArray(std::move(accuracies)),
                        ToArray(std::move(graph_costs)));
}

// Adds to `gradients`; returns the expected log posteriors. `teacher_loglikes`: of each teacher a
// matrix for each lattice.
py::object PyDistillations(const LatticeList& lattices, const TidTables& tables,
                           const LatticeScales& scales, const LatticeScales& teacher_scales,
                           std::vector<Matrix> gradients, double factor,
                           const std::vector<Matrix>& loglikes,
                           const std::vector<std::vector<Matrix>>& teacher_loglikes,
                           const std::vector<double>& teacher_weights, int num_threads) {
  const size_t size = lattices.size();
  const std::vector<Gradient> out = ToGradients(&gradients, factor);
  const std::vector<AcousticScores> scores = ToScores(loglikes);
  std::vector<std::vector<Teacher>> teachers(size);
  bool fits = out.size() == size && scores.size() == size &&
              teacher_loglikes.size() == teacher_weights.size();
  for (size_t m = 0; fits && m < teacher_weights.size(); ++m) {
    const std::vector<AcousticScores> theirs = ToScores(teacher_loglikes[m]);
    fits = theirs.size() == size;
    for (size_t i = 0; fits && i < size; ++i)
      teachers[i].push_back({theirs[i], teacher_weights[m]});
  }
  if (!fits)
    throw py::value_error("matrices for each lattice, and a weight for each teacher expected");
  std::vector<double> values(size);
  {
    py::gil_scoped_release release;
    ForEach(size, num_threads, [&](size_t i) {
      values[i] = AccumulateDistillation(*lattices[i]->Timed(), scores[i], scales, teachers[i],
                                         teacher_scales, tables, out[i]);
    });
  }
  return ToArray(std::move(values));
}

py::tuple PyScoreAcoustics(const PyLattice& lattice, const IntegerArray& tid_to_pdf,
                           const Matrix& loglikes) {
  const Integers pdfs = ToVector(tid_to_pdf);
  CheckMatrix(loglikes);
  const LatticeView& view = lattice.View();
  std::vector<float> arcs(view.NumArcs(), 0.0f), finals(view.num_states, 0.0f);
  const AcousticScores scores{loglikes.data(), loglikes.shape(0), loglikes.shape(1)};
  {
    py::gil_scoped_release release;
    ScoreAcoustics(*lattice.Timed(), scores, pdfs, arcs.data(), finals.data());
  }
  return py::make_tuple(ToArray(std::move(arcs)), ToArray(std::move(finals)));
}

py::object PyArcPosteriors(const PyLattice& lattice, const LatticeScales& scales) {
  std::vector<double> posteriors;
  {
    py::gil_scoped_release release;
    posteriors = ArcPosteriors(*lattice.Timed(), scales);
  }
  return ToArray(std::move(posteriors));
}

}  // namespace

void PybindLatticePosterior(py::module_& m) {
  PYBIND11_NUMPY_DTYPE(PosteriorEntry, frame, tid, weight);
  py::class_<TidTables>(m, "TidTables")
      .def(py::init(&MakeTables), py::arg("pdfs"), py::arg("phones"), py::arg("silence_phones"));
  py::class_<PosteriorOptions>(m, "PosteriorOptions")
      .def(py::init(&MakeOptions), py::arg("scales"), py::arg("accuracy") = "",
           py::arg("one_silence_class") = true, py::arg("boost") = 0.0);
  m.def("lattice_posteriors", &PyPosteriors, py::arg("lattices"), py::arg("tables"),
        py::arg("options"), py::arg("loglikes"), py::arg("alignments"), py::arg("num_threads"));
  m.def("lattice_gradients", &PyGradients, py::arg("lattices"), py::arg("tables"),
        py::arg("options"), py::arg("gradients").noconvert(), py::arg("factor"),
        py::arg("loglikes"), py::arg("alignments"), py::arg("num_threads"));
  m.def("lattice_distillations", &PyDistillations, py::arg("lattices"), py::arg("tables"),
        py::arg("scales"), py::arg("teacher_scales"), py::arg("gradients").noconvert(),
        py::arg("factor"), py::arg("loglikes"), py::arg("teacher_loglikes"),
        py::arg("teacher_weights"), py::arg("num_threads"));
  m.def("lattice_arc_posteriors", &PyArcPosteriors, py::arg("lattice"), py::arg("scales"));
  m.def("lattice_num_frames", [](const PyLattice& lattice) { return lattice.Timed()->num_frames; });
  m.def("score_lattice_acoustics", &PyScoreAcoustics, py::arg("lattice"), py::arg("tid_to_pdf"),
        py::arg("loglikes"));
}

}  // namespace kdspeech
