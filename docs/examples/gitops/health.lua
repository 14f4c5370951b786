-- Health of EcrAccessPolicy and ClusterEcrAccessPolicy: what the condition Ready says of the present generation.
local health = {status = "Progressing", message = "the operator has not looked at this generation yet"}
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
local ready = conditions.Ready
if ready == nil then
  return health
end
health.message = ready.message
if ready.status == "True" then
  health.status = "Healthy"
  -- In force, and something in it is worth a look.
  for _, expected in ipairs({{"PoliciesResolved", "True"}, {"Conflicted", "False"}}) do
    local condition = conditions[expected[1]]
    if condition ~= nil and condition.status ~= expected[2] then
      health.message = health.message .. "; " .. condition.reason .. ": " .. condition.message
    end
  end
elseif ready.status == "False" then
  health.status = "Degraded"
  health.message = ready.reason .. ": " .. ready.message
end
return health
