-- Health of a ModelService for Argo CD: what its conditions say (docs/reference/operator.md#conditions). The order matters: a fault that
-- people must see comes before a rollout that goes on, and that before a service that serves.
local status = obj.status
if status == nil or status.conditions == nil then
  return { status = "Progressing", message = "no operator has looked at it yet" }
end
local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end
local function is(type, value)
  return conditions[type] ~= nil and conditions[type].status == value
end
local function said(type)
  return conditions[type].message
end

if is("Valid", "False") then
  return { status = "Degraded", message = said("Valid") }
end
if status.observedGeneration ~= nil and obj.metadata.generation ~= nil and status.observedGeneration < obj.metadata.generation then
  return { status = "Progressing", message = "the operator has not looked at this spec yet" }
end
if is("Degraded", "True") then
  return { status = "Degraded", message = said("Degraded") }
end
if conditions["Progressing"] ~= nil and conditions["Progressing"].reason == "ProgressDeadlineExceeded" then
  return { status = "Degraded", message = "the rollout is overdue: " .. said("Progressing") }
end
if status.phase == "Aborted" then -- stable answers everything; the revision in the spec is not what is served
  return { status = "Degraded", message = "the rollout was aborted, the stable revision serves: " .. said("Progressing") }
end
if is("Paused", "True") then
  return { status = "Suspended", message = said("Paused") }
end
if is("Progressing", "True") then
  return { status = "Progressing", message = said("Progressing") }
end
if is("Ready", "True") then
  return { status = "Healthy", message = said("Ready") }
end
return { status = "Progressing", message = conditions["Ready"] ~= nil and said("Ready") or "not looked at yet" }
