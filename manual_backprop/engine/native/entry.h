/* What is known of a rule's calls: one entry for each key, with its programs. */
#pragma once
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/autocast_mode.h>
#include <ATen/PythonTorchFunctionTLS.h>
#include <ATen/SavedTensorHooks.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/Exceptions.h>
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

int calls_in_python = 2;       // before one is recorded
constexpr size_t MOST = 256;   // keys of one rule

// functions of Python, and nn.Parameter
PyObject *learn = nullptr, *derive = nullptr, *recompute = nullptr, *passed_on = nullptr, *servable = nullptr, *parameter = nullptr;
int64_t large = 1 << 14;       // elements from which tensors are recomputed or shortened
enum Saving { RECOMPUTED, AS_THEY_ARE, IN_PYTHON };  // what becomes of large tensors
Saving saving = RECOMPUTED;
bool enabled = true;

enum State { NEW, LEARNING, READY, GIVEN_UP };  // LEARNING: one thread records, the others stay in Python

struct Recorded {
  Key key;
  std::atomic<int> seen = 0;
  std::atomic<State> state = NEW;  // READY is set behind the program, which does not change from there on
  Program program;
};

struct Place {
  int argument, output;  // which one it is, -1 for none; neither: a value of its own
  bool operator==(const Place& other) const { return argument == other.argument && output == other.output; }
};

/* How an output is computed again: function(*arguments), of which some are tensors of the call. */
struct Recipe {
  PyObject *function = nullptr, *arguments = nullptr;  // None for tensors
  int output = 0;
  bool passes_on = false;  // what another node has computed
  struct Argument {
    Py_ssize_t position;
    Place place;
    int saved;  // which saved tensor it is, -1 for none
  };
  std::vector<Argument> tensors;
};

struct Entry {
  Key key;
  int seen = 0;
  State state = NEW;
  std::string problem;
  Program program;       // outputs, then what is saved
  int outputs = 0;
  int64_t largest = 0;   // elements of what it returns and saves
  bool tuple = false, materialize = false;  // whether the rule wants zeros for deltas that are not defined
  std::vector<bool> differentiable;
  std::vector<Place> saved;
  bool saves_nothing = true;       // no tensor
  bool in_place = false;           // the output is written over the first argument
  std::unique_ptr<Recipe> recipe;
  std::unique_ptr<Entry> inner;  // of the node that the second output is kept as (engine/inner.py)
  std::vector<int> inner_arguments;
  PyObject *rule = nullptr, *attributes = nullptr, *needs = nullptr;
  unsigned version = 0;
  std::string name;
  std::vector<int> tensors;  // which arguments are tensors
  std::mutex lock;
  std::vector<std::unique_ptr<Recorded>> backwards, recomputes;

  /* The tensor at a place; of a value of its own: the saved one with that number. */
  const at::Tensor& at(Place place, int number, const Tensors& arguments, const Tensors& results) const {
    return place.argument >= 0 ? arguments[place.argument] : results[place.output >= 0 ? place.output : outputs + number];
  }
  const at::Tensor& kept_at(int number, const Tensors& arguments, const Tensors& results) const {
    return at(saved[number], number, arguments, results);
  }
};

/* The version of a class, which Python counts on when an attribute is set: a formula may be another one then. */
unsigned version_of(PyObject* rule) { return ((PyTypeObject*)rule)->tp_version_tag; }

/* Whether torch is in a mode in which calls and backwards stay in Python. */
bool special() {
  return !enabled || at::impl::torch_function_mode_enabled() || c10::impl::TorchDispatchModeTLS::stack_len() ||
         c10::impl::tls_local_dispatch_key_set().included_.has(c10::DispatchKey::FuncTorchDynamicLayerFrontMode) ||
         at::autocast::is_autocast_enabled(at::kCPU) || at::autocast::is_autocast_enabled(at::kCUDA) ||
         c10::InferenceMode::is_enabled() || torch::autograd::ForwardADLevel::try_get_by_idx(0);
}

/* A backward keeps the dtypes that the forward chose, also where it is called inside autocast. */
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
  int served = -1;  // whether its calls can be; 2: and it writes over its first argument; not known at first
  std::unordered_multimap<size_t, std::unique_ptr<Entry>> entries;
};

std::unordered_map<PyObject*, Rule>& rules() {
  static auto* known = new std::unordered_map<PyObject*, Rule>();  // lives as long as the process
  return *known;
}

using torch::autograd::Node;
using NodePointer = decltype(std::declval<Node&>().getptr());  // shared in older versions of torch, intrusive in newer

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

/* What is known of a backward or recomputation with that key; null where there are too many. */
Recorded* found(Entry* entry, std::vector<std::unique_ptr<Recorded>>& all, const Key& key) {
  std::lock_guard<std::mutex> guard(entry->lock);
  for (auto& one : all)
    if (one->key.hash == key.hash && one->key.words == key.words) return one.get();
  if (all.size() >= MOST) return nullptr;
  all.push_back(std::make_unique<Recorded>());
  all.back()->key = key;
  return all.back().get();
}

/* The recording has ended: keep its program, or why there is none. */
void keep(Entry* entry, Recorded* known, Recorder& recorder, const Tensors& outputs) {
  recorder.finish(outputs);
  std::lock_guard<std::mutex> guard(entry->lock);
  if (known->state != NEW) return;
  known->program = std::move(recorder.program);
  known->state = recorder.problem.empty() ? READY : GIVEN_UP;
  if (entry->problem.empty()) entry->problem = recorder.problem;
}

}  // namespace mb
