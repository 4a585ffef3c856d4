/* Records a program while Python runs. torch's RecordFunction callbacks report each outermost operator; kernels are
reported by the Python function that calls them (`note` in engine/node.py).

The recording is given up, with a reason, where a program would miss something: a tensor that is neither an input nor
the result of an operator, or an operator whose result is a number, because Python may have branched on it.
*/
#pragma once
#include <ATen/record_function.h>

#include <string>
#include <unordered_map>

#include "program.h"

namespace mb {

struct Recorder {
  Program program;
  std::string problem;                                     // why the recording was given up; empty if it was not
  std::unordered_map<const c10::TensorImpl*, int> places;  // tensor -> index of its value
  Tensors alive;                                           // keeps tensors alive, so that no address is reused
  Instruction current;
  int depth = 0;
  at::CallbackHandle handle = 0;

  static Recorder*& active() {
    static thread_local Recorder* recorder = nullptr;
    return recorder;
  }

  int place(const at::Tensor& tensor) const {
    auto found = places.find(tensor.unsafeGetTensorImpl());
    if (found != places.end()) return found->second;
    // torch.empty and similar functions return another tensor than the operator's result, on the same memory
    if (!tensor.has_storage()) return -1;
    for (const auto& value : alive)
      if (value.has_storage() && value.storage().unsafeGetStorageImpl() == tensor.storage().unsafeGetStorageImpl() &&
          value.scalar_type() == tensor.scalar_type() && value.key_set() == tensor.key_set() && value.sizes() == tensor.sizes() &&
          value.strides() == tensor.strides() && value.storage_offset() == tensor.storage_offset())
        return places.at(value.unsafeGetTensorImpl());
    return -1;
  }

  int added(const at::Tensor& tensor) {
    if (auto known = places.find(tensor.unsafeGetTensorImpl()); known != places.end()) return known->second;
    alive.push_back(tensor);
    places[tensor.unsafeGetTensorImpl()] = program.count;
    return program.count++;
  }

  void give_up(const std::string& why) {
    if (problem.empty()) problem = why;
  }

  void begin(const Tensors& inputs) {
    for (const auto& tensor : inputs) {
      if (tensor.defined() && places.emplace(tensor.unsafeGetTensorImpl(), program.count).second) alive.push_back(tensor);
      program.count++;  // each input is a value, also a tensor that is passed twice
    }
    program.inputs = program.count;
    handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback(started, ended).needsInputs(true).needsOutputs(true).scopes(
            {at::RecordScope::FUNCTION}));
    active() = this;
  }

  void end() {
    if (active() != this) return;
    at::removeCallback(handle);
    active() = nullptr;
  }

  ~Recorder() { end(); }

  void take(const at::Tensor& tensor, int at) {            // an argument of an operator
    if (!tensor.defined()) return;
    if (int value = place(tensor); value >= 0) {
      current.values.emplace_back(at, value);
      current.constants[at] = c10::IValue();
    } else if (!tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
      give_up("a tensor that is neither an input nor a result");
    }
  }

  static std::unique_ptr<at::ObserverContext> started(const at::RecordFunction& call) {
    auto* self = active();
    if (self == nullptr || self->depth++ > 0) return nullptr;
    auto name = call.operator_name();
    if (!name) {
      self->give_up("a call that is not an operator");
      return nullptr;
    }
    self->current = Instruction();
    self->current.op = c10::Dispatcher::singleton().findSchema(*name);
    self->current.unseen_views = makes_views_of_samples(*name);
    auto inputs = call.inputs();
    self->current.constants.assign(inputs.begin(), inputs.end());
    for (int at = 0; at < (int)inputs.size(); at++) {
      if (inputs[at].isTensor()) {
        self->take(inputs[at].toTensor(), at);
      } else if (inputs[at].isTensorList()) {
        std::vector<int> values;
        for (const at::Tensor& tensor : inputs[at].toTensorList()) {
          values.push_back(self->place(tensor));
          if (values.back() < 0) self->give_up("a tensor that is neither an input nor a result");
        }
        self->current.lists.emplace_back(at, std::move(values));
        self->current.constants[at] = c10::IValue();
      } else if (inputs[at].isOptionalTensorList()) {
        std::vector<int> values;
        for (const std::optional<at::Tensor>& tensor : inputs[at].toOptionalTensorList()) {
          values.push_back(tensor && tensor->defined() ? self->place(*tensor) : -1);
          if (!tensor || !tensor->defined()) continue;
          if (values.back() < 0) self->give_up("a tensor that is neither an input nor a result");
          if (tensor->scalar_type() == at::kBool || tensor->scalar_type() == at::kByte)
            self->give_up("a mask as an index: the size of the result depends on its values");
        }
        self->current.indices.emplace_back(at, std::move(values));
        self->current.constants[at] = c10::IValue();
      } else if (inputs[at].isList() || inputs[at].isGenericDict()) {
        for (const c10::IValue& part : inputs[at].isList() ? inputs[at].toList().vec() : std::vector<c10::IValue>())
          if (part.isTensor()) self->give_up("a list with tensors: " + c10::toString(*name));
      } else if (inputs[at].isGenerator()) {
        self->give_up("a generator of random numbers");
      }
    }
    return nullptr;
  }

  static void ended(const at::RecordFunction& call, at::ObserverContext*) {
    auto* self = active();
    if (self == nullptr || --self->depth > 0) return;
    auto name = call.operator_name();
    if (!self->current.op || !name) return self->give_up("an operator without a schema");
    const auto& outputs = call.outputs();
    const bool reads = self->current.values.size() + self->current.lists.size() + self->current.indices.size();
    if (!reads && outputs.size() == 1 && !outputs[0].isTensor() && !outputs[0].isTensorList()) {
      self->current = Instruction();  // a fact that no tensor decides, such as the dtype that two dtypes promote to
      return;
    }
    for (int at = 0; at < (int)outputs.size(); at++) {
      const auto& output = outputs[at];
      const bool tensor = output.isTensor() && output.toTensor().defined();
      self->current.results.push_back(tensor ? self->added(output.toTensor()) : -1);
      if (output.isTensorList()) {
        std::vector<int> values;
        for (const at::Tensor& part : output.toTensorVector()) values.push_back(self->added(part));
        self->current.listed.emplace_back(at, std::move(values));
      } else if (at == 0 && !output.isTensor()) {
        self->give_up("a result that is no tensor: " + c10::toString(*name));
      }
    }
    self->program.instructions.push_back(std::move(self->current));
    self->current = Instruction();
  }

  void finish(const Tensors& outputs) {
    end();
    for (const auto& tensor : outputs) {
      int value = tensor.defined() ? place(tensor) : -1;
      if (tensor.defined() && value < 0) give_up("an output that is neither an input nor a result");
      program.outputs.push_back(value);
    }
    std::vector<int> last(program.count, -1);
    auto& steps = program.instructions;
    for (int k = 0; k < (int)steps.size(); k++) {
      for (auto [at, value] : steps[k].values) last[value] = k;
      for (auto [at, value, factor] : steps[k].kernel.scalars) last[value] = k;
      for (const auto& [at, values] : steps[k].lists) for (int value : values) if (value >= 0) last[value] = k;
      for (const auto& [at, values] : steps[k].indices) for (int value : values) if (value >= 0) last[value] = k;
      for (int value : steps[k].results) if (value >= 0) last[value] = std::max(last[value], k);
      for (const auto& [at, values] : steps[k].listed) for (int value : values) last[value] = std::max(last[value], k);
    }
    for (int value : program.outputs) if (value >= 0) last[value] = -1;
    for (int value = 0; value < program.count; value++) if (last[value] >= 0) steps[last[value]].dead.push_back(value);
    alive.clear();
    places.clear();
  }
};

}  // namespace mb
