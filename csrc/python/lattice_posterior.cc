// Posteriors of lattices for Python: one lattice or many, over threads.
#include "decode/lattice_posterior.h"

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
  for (const int32_t phone : silence_phones) {
    if (phone < 0) throw py::value_error("silence phones: below 0");
    if (phone >= static_cast<int64_t>(tables.is_silence.size()))
      tables.is_silence.resize(phone + 1);
    tables.is_silence[phone] = true;
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
    for (const Matrix& matrix : loglikes) CheckMatrix(matrix);
  }
  static void CheckMatrix(const Matrix& matrix) {
    if (matrix.ndim() != 2) throw py::value_error("a matrix (frames, pdfs) expected");
  }
  std::vector<AcousticScores> AllScores() const {
    std::vector<AcousticScores> scores(lattices.size());
    for (size_t i = 0; i < loglikes.size(); ++i) {
      scores[i] = {loglikes[i].data(), loglikes[i].shape(0), loglikes[i].shape(1)};
    }
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
          ComputePosteriors(lattices[i]->View(), scores[i], tables, batch.Alignment(i), options);
    });
  }
  py::list out;
  for (LatticePosteriors& result : results) {
    out.append(py::make_tuple(ToArray(std::move(result.entries)), result.log_likelihood,
                              result.accuracy, result.num_frames));
  }
  return out;
}

struct MutableMatrix {
  float* data;
  int64_t rows, columns;
};

std::vector<MutableMatrix> ToMutable(std::vector<Matrix>* matrices) {
  std::vector<MutableMatrix> out;
  for (Matrix& matrix : *matrices) {
    Batch::CheckMatrix(matrix);
    out.push_back({matrix.mutable_data(), matrix.shape(0), matrix.shape(1)});
  }
  return out;
}

// Adds to `gradients`; returns the log likelihoods, the accuracies and the graph costs.
py::tuple PyGradients(const LatticeList& lattices, const TidTables& tables,
                      const PosteriorOptions& options, std::vector<Matrix> gradients,
                      const std::vector<Matrix>& loglikes,
                      const std::vector<IntegerArray>& alignments, int num_threads) {
  const Batch batch{lattices, tables, options, loglikes, ToVectors(alignments)};
  batch.Check();
  const std::vector<MutableMatrix> out = ToMutable(&gradients);
  if (out.size() != lattices.size()) throw py::value_error("a gradient for each lattice expected");
  const std::vector<AcousticScores> scores = batch.AllScores();
  const size_t size = lattices.size();
  std::vector<double> log_likelihoods(size), accuracies(size), graph_costs(size);
  {
    py::gil_scoped_release release;
    ForEach(lattices.size(), num_threads, [&](size_t i) {
      const LatticePosteriors result =
          AccumulatePosteriors(lattices[i]->View(), scores[i], tables, batch.Alignment(i), options,
                               out[i].rows, out[i].columns, out[i].data);
      log_likelihoods[i] = result.log_likelihood;
      accuracies[i] = result.accuracy;
      graph_costs[i] = result.graph_cost;
    });
  }
  return py::make_tuple(ToArray(std::move(log_likelihoods)), ToArray(std::move(accuracies)),
                        ToArray(std::move(graph_costs)));
}

py::tuple PyScoreAcoustics(const PyLattice& lattice, const IntegerArray& tid_to_pdf,
                           const Matrix& loglikes) {
  const Integers pdfs = ToVector(tid_to_pdf);
  Batch::CheckMatrix(loglikes);
  const LatticeView& view = lattice.View();
  std::vector<float> arcs(view.NumArcs(), 0.0f), finals(view.num_states, 0.0f);
  const AcousticScores scores{loglikes.data(), loglikes.shape(0), loglikes.shape(1)};
  {
    py::gil_scoped_release release;
    ScoreAcoustics(view, scores, pdfs, arcs.data(), finals.data());
  }
  return py::make_tuple(ToArray(std::move(arcs)), ToArray(std::move(finals)));
}

py::object PyArcPosteriors(const PyLattice& lattice, const LatticeScales& scales) {
  std::vector<double> posteriors;
  {
    py::gil_scoped_release release;
    posteriors = ArcPosteriors(lattice.View(), scales);
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
        py::arg("options"), py::arg("gradients").noconvert(), py::arg("loglikes"),
        py::arg("alignments"), py::arg("num_threads"));
  m.def("lattice_arc_posteriors", &PyArcPosteriors, py::arg("lattice"), py::arg("scales"));
  m.def("lattice_num_frames", [](const PyLattice& lattice) { return NumFrames(lattice.View()); });
  m.def("score_lattice_acoustics", &PyScoreAcoustics, py::arg("lattice"), py::arg("tid_to_pdf"),
        py::arg("loglikes"));
}

}  // namespace kdspeech
