-- Health of a RolloutPolicy for Argo CD: whether services can follow it.
if obj.status ~= nil and obj.status.conditions ~= nil then
  for _, condition in ipairs(obj.status.conditions) do
    if condition.type == "Valid" then
      return { status = condition.status == "True" and "Healthy" or "Degraded", message = condition.message }
    end
  end
end
return { status = "Progressing", message = "no operator has looked at it yet" }
