/* What a node keeps for its backward, and how the output of a cheap rule is recomputed from it.

This is memory/recompute.py and memory/saving.py in C++, for native nodes: there is said why it is sound. One thing is
simpler here. What a node keeps is shared with whoever may ask for its output, so it lives until the last of them has
run, also where the node itself has run before.
*/
#pragma once
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/graph_task.h>

#include "entry.h"

namespace mb {

constexpr int DEPTH = 4;        // rules at most that are run again for one tensor
constexpr int64_t SMALL = 16;   // an argument with this many times fewer elements than the output may be copied for it

struct Kept;

struct View {  // of a node's output
  std::vector<int64_t> output_strides, sizes, strides;
  int64_t offset;
};

/* That a tensor is recomputed by the node that computed it. */
struct Ask {
  std::shared_ptr<Kept> kept;  // by that node
  NodePointer node;
  std::optional<View> view;
  Kept* reader = nullptr;      // whose recipe reads the tensor; null where a backward reads it
  int64_t task = -1;           // the pass of backward in which it last asked
  c10::VariableVersion counter;  // of the tensor, for a backward: an edit in place is an error, as if it had been saved
  uint32_t version = 0;

  ~Ask();
  at::Tensor tensor(int64_t task);
  at::Tensor value(int64_t task) const;
  void check() const;          // the version
};

struct Operand {  // of a recipe: one of these
  int saved = -1;
  std::unique_ptr<Ask> ask;
  at::Tensor copy;
};

struct Kept {
  std::vector<Ask*> readers;               // before `asks` and `operands`: other threads look here until those are gone
  int64_t task = -1;                       // a pass of backward, and the output while it lasts
  at::Tensor cached;

  Entry* entry = nullptr;
  std::vector<SavedVariable> saved;
  std::vector<std::unique_ptr<Ask>> asks;  // for each saved tensor, what is kept in its place; empty where none is
  int own = -1;                            // which saved tensor is the node's own output, and recomputed

  bool recipe = false;                     // whether its output can be had in the backward
  bool recomputed = false;                 // it is recomputed; else it is the saved tensor that the one operand names
  std::vector<Operand> operands;
  int depth = 0;
  uint32_t output_nr = 0, version = 0;
  const void* address = nullptr;
  c10::VariableVersion counter;            // of the node's own output: an edit in place is an error for its backward
  std::optional<c10::weak_intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>> output;

  bool describes(const at::Tensor& tensor) const {
    return tensor.unsafeGetTensorImpl()->version_counter().current_version() == version &&
           tensor.unsafeGetTensorImpl()->storage().data() && tensor.const_data_ptr() == address;
  }

  at::Tensor original() const {  // where someone still holds it unchanged
    auto held = output ? output->lock() : c10::intrusive_ptr<c10::TensorImpl, c10::UndefinedTensorImpl>();
    at::Tensor tensor(std::move(held));
    return tensor.defined() && describes(tensor) ? tensor : at::Tensor();
  }
};

/* Guards `readers`, `task` and `cached` of all; never held while something is computed. */
inline std::mutex& bookkeeping() {
  static std::mutex mutex;
  return mutex;
}

inline bool waits(const Ask& ask, int64_t task);

/* Whether someone may still ask in this pass of backward, or in another. */
inline bool waiting(const Kept& kept, int64_t task) {
  for (const auto* ask : kept.readers)
    if (waits(*ask, task)) return true;
  return false;
}

inline bool waits(const Ask& ask, int64_t task) {
  if (ask.task == task) return false;
  return !ask.reader || ask.reader->own >= 0 || waiting(*ask.reader, task);
}

/* Not needed in this pass of backward, nor what it would have asked for. */
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

/* torch's error where the output of a node has another version than when it would have been saved. */
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
                    : ask ? ask->value(task)  // the node's own backward still has to ask
                    : operand.saved >= 0 ? kept.saved[operand.saved].unpack(node) : operand.copy);
  }
  return found;
}

/* A recipe's arguments in Python, around its tensors; `at` counts these. */
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

/* The function of a recipe, in one pass with the one before where there is one: by a program, or in Python. */
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
  if (before) {  // the first operand of the second function is what the first computes
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

/* Whether the tensor has to be recomputed, and nobody else needs it. */
inline bool for_this_alone(const Ask& ask, int64_t task) {
  auto& kept = *ask.kept;
  if (!kept.recomputed || kept.own >= 0 || kept.original().defined()) return false;
  std::lock_guard<std::mutex> guard(bookkeeping());
  if (kept.cached.defined() && kept.task == task) return false;
  for (const auto* other : kept.readers)
    if (other != &ask && waits(*other, task)) return false;
  return true;
}

/* The output of a node is computed again, or was in this pass of backward. */
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
  at::Tensor freed;  // behind the lock: that may need the GIL
  std::lock_guard<std::mutex> guard(bookkeeping());
  if (kept->own >= 0 || waiting(*kept, task)) {
    kept->task = task;
    freed = std::exchange(kept->cached, value);
    torch::autograd::Engine::get_default_engine().queue_callback([weak = std::weak_ptr<Kept>(kept), task] {
      auto kept = weak.lock();
      at::Tensor freed;  // behind the lock
      if (!kept) return;
      std::lock_guard<std::mutex> guard(bookkeeping());
      if (kept->task == task) std::swap(freed, kept->cached);
    });
  }
  return value;
}

/* The output of a node: the tensor itself where it still lives, else recomputed. Where this backward is itself
differentiated, it is the node's output again, as a saved tensor would be: derivatives go through the node, and its
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
