/* The recorded calls of a rule: one entry for each key, with its programs. */
#pragma once
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/SavedTensorHooks.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/PyInterpreter.h>
#include <torch/csrc/autograd/forward_grad.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/python_cpp_function.h>
#include <torch/csrc/autograd/saved_variable.h>
#include <torch/csrc/utils/object_ptr.h>
#include <pybind11/pybind11.h>

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "key.h"
#include "record.h"

using torch::autograd::SavedVariable;
using torch::autograd::variable_list;

namespace mb {

int calls_in_python = 2;       // calls with one key that run in Python before one is recorded
constexpr size_t MOST = 256;   // most keys of one rule

// Python functions (engine/node.py), and the class nn.Parameter
PyObject *learn = nullptr, *derive = nullptr, *recompute = nullptr, *passed_on = nullptr, *servable = nullptr, *parameter = nullptr;
int64_t large = 1 << 14;       // elements from which a saved tensor is recomputed or compressed
enum Saving { RECOMPUTED, AS_THEY_ARE, IN_PYTHON };  // what happens to large saved tensors
Saving saving = RECOMPUTED;
bool enabled = true;

enum State { NEW, LEARNING, READY, GIVEN_UP };  // LEARNING: one thread records, the others run in Python

struct Recorded {
  Key key;
  std::atomic<int> seen = 0;
  std::atomic<State> state = NEW;  // READY is set after the program is stored, which never changes afterwards
  Program program;
};

struct Place {
  int argument, output;  // index of the argument or output that the tensor is, else -1; both -1: another tensor
  bool operator==(const Place& other) const { return argument == other.argument && output == other.output; }
};

/* How an output is recomputed: function(*arguments). Some arguments are tensors of the call. */
struct Recipe {
  PyObject *function = nullptr, *arguments = nullptr;  // arguments has None in place of tensors
  int output = 0;
  bool passes_on = false;  // the output is a copy of its first argument, which another node computed
  struct Argument {
    Py_ssize_t position;
    Place place;
    int saved;  // index of the saved tensor that it is, else -1
  };
  std::vector<Argument> tensors;
};

struct Entry {
  Key key;
  int seen = 0;
  State state = NEW;
  std::string problem;
  Program program;       // its outputs are the rule's outputs, then the saved tensors
  int outputs = 0;
  int64_t largest = 0;   // elements of the largest tensor that it returns or saves
  bool tuple = false, materialize = false;  // whether the rule wants zeros for deltas that are not defined
  std::vector<bool> differentiable;
  std::vector<Place> saved;
  bool saves_nothing = true;       // whether it saves no tensor
  bool in_place = false;           // the output is written over the first argument
  std::unique_ptr<Recipe> recipe;
  std::unique_ptr<Entry> inner;  // of the inner node, whose output the second output is saved as (engine/inner.py)
  std::vector<int> inner_arguments;
  PyObject *rule = nullptr, *attributes = nullptr, *needs = nullptr;
  unsigned version = 0;
  std::string name;
  std::vector<int> tensors;  // positions of the tensors among the arguments
  std::mutex lock;
  std::vector<std::unique_ptr<Recorded>> backwards, recomputes;

  /* The tensor at a place; if that is neither an argument nor an output, the saved tensor with this number. */
  const at::Tensor& at(Place place, int number, const Tensors& arguments, const Tensors& results) const {
    return place.argument >= 0 ? arguments[place.argument] : results[place.output >= 0 ? place.output : outputs + number];
  }
  const at::Tensor& kept_at(int number, const Tensors& arguments, const Tensors& results) const {
    return at(saved[number], number, arguments, results);
  }
};

/* The version of a class. Python changes it when an attribute of the class is set: a formula may have been replaced. */
unsigned version_of(PyObject* rule) { return ((PyTypeObject*)rule)->tp_version_tag; }

/* Whether a mode or setting is active, other than a function mode, in which calls and backwards run in Python. */
bool special_but_for_function_modes() {
  return !enabled || c10::impl::TorchDispatchModeTLS::stack_len() ||
         c10::impl::tls_local_dispatch_key_set().included_.has(c10::DispatchKey::FuncTorchDynamicLayerFrontMode) ||
         at::autocast::is_autocast_enabled(at::kCPU) || at::autocast::is_autocast_enabled(at::kCUDA) ||
         c10::InferenceMode::is_enabled() || torch::autograd::ForwardADLevel::try_get_by_idx(0);
}

/* Whether a mode or setting is active in which calls and backwards run in Python. */
bool special() { return at::impl::torch_function_mode_enabled() || special_but_for_function_modes(); }

/* Whether every active function mode is `mb.explicit`. It has nothing to replace in a recorded program. Needs the GIL. */
bool only_explicit() {
  static auto* name = PyUnicode_InternFromString("leads_to_rules");
  for (int64_t k = 0; k < at::impl::PythonTorchFunctionTLS::stack_len(); k++) {
    auto* mode = at::impl::PythonTorchFunctionTLS::get_stack_at(k)->ptr(getPyInterpreter());
    THPObjectPtr leads(PyObject_GetAttr((PyObject*)Py_TYPE(mode), name));
    if (!leads) PyErr_Clear();
    if (leads.get() != Py_True) return false;
  }
  return true;
}

/* Turns autocast off: a backward keeps the dtypes that the forward chose, also where it is called inside autocast. */
struct WithoutAutocast {
  const bool cpu = at::autocast::is_autocast_enabled(at::kCPU), cuda = at::autocast::is_autocast_enabled(at::kCUDA);

  WithoutAutocast() { set(false, false); }
  ~WithoutAutocast() { set(cpu, cuda); }

  void set(bool on_cpu, bool on_cuda) const {
    if (cpu) at::autocast::set_autocast_enabled(at::kCPU, on_cpu);
    if (cuda) at::autocast::set_autocast_enabled(at::kCUDA, on_cuda);
  }
};

struct Rule {
  unsigned version = 0;
  int served = -1;  // what `_servable` of engine/node.py returned; -1 before it was called
  std::unordered_multimap<size_t, std::unique_ptr<Entry>> entries;
};

std::unordered_map<PyObject*, Rule>& rules() {
  static auto* known = new std::unordered_map<PyObject*, Rule>();  // never freed: nodes point to its entries
  return *known;
}

using torch::autograd::Node;
using NodePointer = decltype(std::declval<Node&>().getptr());  // shared_ptr in older torch versions, else intrusive_ptr

template <class T, class Pointer = NodePointer> auto make_node() {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<Node>>) return std::shared_ptr<T>(new T(), [](T* node) { deleteNode(node); });
  else return c10::make_intrusive<T>();
}

PyObject* wrapped(const at::Tensor& tensor) {
  if (tensor.defined()) return THPVariable_Wrap(tensor);
  Py_RETURN_NONE;
}

PyObject* listed(const Tensors& tensors) {
  THPObjectPtr list(PyTuple_New(tensors.size()));
  if (!list) throw python_error();
  for (size_t k = 0; k < tensors.size(); k++) PyTuple_SET_ITEM(list.get(), k, wrapped(tensors[k]));
  return list.release();
}

at::Tensor unwrapped(PyObject* object) {
  return THPVariable_Check(object) ? THPVariable_Unpack(object) : at::Tensor();
}

uint64_t plain_keys() {
  static const uint64_t keys = at::empty({0}, at::kFloat).key_set().raw_repr();
  return keys;
}

bool plain(const Tensors& tensors) {
  for (const auto& tensor : tensors)
    if (tensor.defined() && tensor.key_set().raw_repr() != plain_keys()) return false;
  return true;
}

/* The record of a backward or recomputation with this key, created if missing; null if there are too many. */
Recorded* found(Entry* entry, std::vector<std::unique_ptr<Recorded>>& all, const Key& key) {
  std::lock_guard<std::mutex> guard(entry->lock);
  for (auto& one : all)
    if (one->key.hash == key.hash && one->key.words == key.words) return one.get();
  if (all.size() >= MOST) return nullptr;
  all.push_back(std::make_unique<Recorded>());
  all.back()->key = key;
  return all.back().get();
}

/* End the recording and store its program, or the reason why there is none. */
void keep(Entry* entry, Recorded* known, Recorder& recorder, const Tensors& outputs) {
  recorder.finish(outputs);
  std::lock_guard<std::mutex> guard(entry->lock);
  if (known->state != NEW) return;
  known->program = std::move(recorder.program);
  known->state = recorder.problem.empty() ? READY : GIVEN_UP;
  if (entry->problem.empty()) entry->problem = recorder.problem;
}

}  // namespace mb
