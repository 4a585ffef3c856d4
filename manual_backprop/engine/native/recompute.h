/* What a node keeps for its backward, and how the output of a cheap rule is recomputed from it.

This is the C++ version of memory/recompute.py and memory/saving.py; memory/recompute.py says why it is sound. One thing
is simpler here. Every node that may ask for an output shares ownership of what is kept, so that lives until the last of
them has run, even if the backward of the node itself has run before.
*/
#pragma once
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/graph_task.h>

#include "entry.h"

namespace mb {

constexpr int DEPTH = 4;        // most rules that run again to recompute one tensor
constexpr int64_t SMALL = 16;   // an argument with this many times fewer elements than the output may be copied

struct Kept;

struct View {  // of a node's output
  std::vector<int64_t> output_strides, sizes, strides;
  int64_t offset;
};

/* Stands for a tensor that is not saved: the node that computed it recomputes it. */
struct Ask {
  std::shared_ptr<Kept> kept;  // of that node
  NodePointer node;
  std::optional<View> view;
  Kept* reader = nullptr;      // the node whose recipe reads the tensor; null if a backward reads it
  int64_t task = -1;           // the backward pass in which the tensor was last needed
  c10::VariableVersion counter;  // of the tensor, if a backward reads it: in-place edits are errors, as for a saved one
  uint32_t version = 0;

  ~Ask();
  at::Tensor tensor(int64_t task);
  at::Tensor value(int64_t task) const;
  void check() const;          // raises torch's error if the version has changed
};

struct Operand {  // a tensor argument of a recipe: one of these three
  int saved = -1;
  std::unique_ptr<Ask> ask;
  at::Tensor copy;
};

struct Kept {
  std::vector<Ask*> readers;               // destroyed after `asks` and `operands`: other threads read it through these
  int64_t task = -1;                       // a backward pass
  at::Tensor cached;                       // the output, recomputed in that pass and kept until it ends

  Entry* entry = nullptr;
  std::vector<SavedVariable> saved;
  std::vector<std::unique_ptr<Ask>> asks;  // for each saved tensor the Ask in its place, or null; empty if none
  int own = -1;                            // index of the saved tensor that is the node's own output and is recomputed

  bool recipe = false;                     // whether the output is available in the backward
  bool recomputed = false;                 // whether it is recomputed; else it is the saved tensor of the only operand
  std::vector<Operand> operands;
  int depth = 0;
  uint32_t output_nr = 0, version = 0;
  const void* address = nullptr;
  c10::VariableVersion counter;            // of the node's own output: an in-place edit is an error in its backward
  std::optional<c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>> output;

  bool describes(const at::Tensor& tensor) const {
    return tensor.unsafeGetTensorImpl()->version_counter().current_version() == version &&
           tensor.unsafeGetTensorImpl()->storage().data() && tensor.const_data_ptr() == address;
  }

  at::Tensor original() const {  // the output itself, if it is still alive and unchanged
    auto held = output ? output->lock() : c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>();
    at::Tensor tensor(std::move(held));
    return tensor.defined() && describes(tensor) ? tensor : at::Tensor();
  }
};

/* Guards `readers`, `task` and `cached` of all nodes; never held while something is computed. */
inline std::mutex& bookkeeping() {
  static std::mutex mutex;
  return mutex;
}

inline bool waits(const Ask& ask, int64_t task);

/* Whether a reader may still ask, in this backward pass or in a later one. */
inline bool waiting(const Kept& kept, int64_t task) {
  for (const auto* ask : kept.readers)
    if (waits(*ask, task)) return true;
  return false;
}

inline bool waits(const Ask& ask, int64_t task) {
  if (ask.task == task) return false;
  return !ask.reader || ask.reader->own >= 0 || waiting(*ask.reader, task);
}

/* The tensor is not needed in this backward pass, and neither are the tensors that recomputing it would ask for. */
inline void skip(Ask& ask, int64_t task) {
  ask.task = task;
  for (auto& operand : ask.kept->operands)
    if (operand.ask) skip(*operand.ask, task);
}

inline Ask::~Ask() {
  std::lock_guard<std::mutex> guard(bookkeeping());
  auto& readers = kept->readers;
  readers.erase(std::remove(readers.begin(), readers.end(), this), readers.end());
}

/* torch's error for a saved tensor that was edited in place, for an output that was not saved. */
inline void check_version(const c10::VariableVersion& counter, uint32_t version, const NodePointer& node, uint32_t output_nr) {
  if (auto now = counter.current_version(); now != version) {
    const auto& metadata = node->input_metadata(output_nr);
    TORCH_CHECK(false, "one of the variables needed for gradient computation has been modified by an inplace operation: [",
                metadata.options().dtype(), " ", metadata.shape_as_dim_vector(), "], which is output ", output_nr,
                " of ", node->name(), ", is at version ", now, "; expected version ", version, " instead. Hint: enable "
                "anomaly detection to find the operation that failed to compute its gradient, with "
                "torch.autograd.set_detect_anomaly(True).");
  }
}

inline void Ask::check() const { check_version(counter, version, node, kept->output_nr); }

inline Tensors operands_of(Kept& kept, const NodePointer& node, int64_t task, size_t begin = 0) {
  Tensors found;
  for (size_t k = begin; k < kept.operands.size(); k++) {
    auto& operand = kept.operands[k];
    auto* ask = operand.saved < 0 || kept.asks.empty() ? nullptr : kept.asks[operand.saved].get();
    if (ask) ask->check();
    found.push_back(operand.ask ? operand.ask->tensor(task)
                    : ask ? ask->value(task)  // does not set its task: the node's own backward still has to ask
                    : operand.saved >= 0 ? kept.saved[operand.saved].unpack(node) : operand.copy);
  }
  return found;
}

/* A recipe's arguments as a Python tuple. Its tensors are taken from `tensors`, from index `at` on, which is advanced.
*/
inline PyObject* arguments_of(const Recipe& recipe, const Tensors& tensors, size_t& at) {
  THPObjectPtr all(PyTuple_New(PyTuple_GET_SIZE(recipe.arguments)));
  if (!all) throw python_error();
  size_t next = 0;
  for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(recipe.arguments); k++) {
    const bool tensor = next < recipe.tensors.size() && recipe.tensors[next].position == k;
    PyTuple_SET_ITEM(all.get(), k, tensor ? wrapped(tensors[at++]) : Py_NewRef(PyTuple_GET_ITEM(recipe.arguments, k)));
    next += tensor;
  }
  return all.release();
}

/* Runs a recipe's function, as a program or in Python. before: another recipe that runs first, whose result is the
first argument; the two may run as one pass over memory. */
inline at::Tensor computed(Entry* entry, Entry* before, Tensors inputs) {
  const bool python = special() || version_of(entry->rule) != entry->version ||
                      (before && version_of(before->rule) != before->version);
  Recorded* known = nullptr;
  if (!python) {
    Key key;
    key.add((int64_t)before);
    for (const auto& input : inputs) key.add(input);
    key.seal();
    known = found(entry, entry->recomputes, key);
  }
  if (known && known->state == READY && plain(inputs)) {
    Tensors outputs;
    at::AutoDispatchBelowAutograd guard;
    if (run(known->program, Tensors(inputs), outputs)) return outputs[0];
  }
  pybind11::gil_scoped_acquire gil;
  Recorder recorder;
  const bool learning = known && known->state == NEW && plain(inputs) && ++known->seen > calls_in_python;
  if (learning) recorder.begin(inputs);
  size_t at = 0;
  THPObjectPtr first(before ? arguments_of(*before->recipe, inputs, at) : Py_NewRef(Py_None));
  if (before) {  // the first argument of the second function is the result of the first
    inputs.insert(inputs.begin() + at, at::Tensor());
  }
  THPObjectPtr second(arguments_of(*entry->recipe, inputs, at));
  THPObjectPtr result(PyObject_CallFunctionObjArgs(recompute, entry->recipe->function, second.get(),
                                                   before ? before->recipe->function : Py_None, first.get(), nullptr));
  if (!result) throw python_error();
  auto tensor = unwrapped(result.get());
  if (learning) keep(entry, known, recorder, {tensor});
  return tensor;
}

/* Whether the tensor has to be recomputed and nothing else needs it. */
inline bool for_this_alone(const Ask& ask, int64_t task) {
  auto& kept = *ask.kept;
  if (!kept.recomputed || kept.own >= 0 || kept.original().defined()) return false;
  std::lock_guard<std::mutex> guard(bookkeeping());
  if (kept.cached.defined() && kept.task == task) return false;
  for (const auto* other : kept.readers)
    if (other != &ask && waits(*other, task)) return false;
  return true;
}

/* The output of a node, recomputed, or cached from earlier in this backward pass. */
inline at::Tensor recomputed(const std::shared_ptr<Kept>& kept, const NodePointer& node, int64_t task) {
  {
    std::lock_guard<std::mutex> guard(bookkeeping());
    if (kept->cached.defined() && kept->task == task) return kept->cached;
  }
  const auto& tensors = kept->entry->recipe->tensors;
  auto* first = tensors.empty() || tensors[0].position != 0 ? nullptr : kept->operands[0].ask.get();
  at::Tensor value;
  if (first && !first->view && for_this_alone(*first, task)) {
    {
      std::lock_guard<std::mutex> guard(bookkeeping());
      first->task = task;
    }
    auto inputs = operands_of(*first->kept, first->node, task);
    auto others = operands_of(*kept, node, task, 1);
    inputs.insert(inputs.end(), others.begin(), others.end());
    value = computed(kept->entry, first->kept->entry, std::move(inputs));
  } else {
    value = computed(kept->entry, nullptr, operands_of(*kept, node, task));
  }
  if (task == -1) return value;
  at::Tensor freed;  // declared first, so that it is freed after the lock is released: that may take the GIL
  std::lock_guard<std::mutex> guard(bookkeeping());
  if (kept->own >= 0 || waiting(*kept, task)) {
    kept->task = task;
    freed = std::exchange(kept->cached, value);
    torch::autograd::Engine::get_default_engine().queue_callback([weak = std::weak_ptr<Kept>(kept), task] {
      auto kept = weak.lock();
      at::Tensor freed;  // freed after the lock is released
      if (!kept) return;
      std::lock_guard<std::mutex> guard(bookkeeping());
      if (kept->task == task) std::swap(freed, kept->cached);
    });
  }
  return value;
}

/* The output of a node: the tensor itself if it is still alive, else recomputed. Where this backward is itself
differentiated, the result is connected to the node, as a saved tensor would be: derivatives go through the node and its
hooks. */
inline at::Tensor output_of(const std::shared_ptr<Kept>& kept, const NodePointer& node, int64_t task) {
  if (!kept->recomputed) return kept->saved[kept->operands[0].saved].unpack(node);
  if (auto found = kept->original(); found.defined()) {
    std::lock_guard<std::mutex> guard(bookkeeping());
    for (auto& operand : kept->operands)
      if (operand.ask) skip(*operand.ask, task);
    return found;
  }
  const bool again = at::GradMode::is_enabled();
  c10::AutoGradMode no_grad(false);
  auto value = recomputed(kept, node, task);
  if (!again || !kept->entry->differentiable[kept->entry->recipe->output]) return value;
  return torch::autograd::make_variable(value, torch::autograd::Edge(node, kept->output_nr));
}

inline at::Tensor Ask::tensor(int64_t now) {
  {
    std::lock_guard<std::mutex> guard(bookkeeping());
    task = now;
  }
  return value(now);
}

inline at::Tensor Ask::value(int64_t now) const {
  auto output = output_of(kept, node, now);
  if (!view) return output;
  if (output.strides() != at::IntArrayRef(view->output_strides))
    output = at::empty_strided(output.sizes(), view->output_strides, output.options()).copy_(output);
  return output.as_strided(view->sizes, view->strides, output.storage_offset() + view->offset);
}

}  // namespace mb
