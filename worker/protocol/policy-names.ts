/** Names of policies that requests and files may still have, and what they are called now. */
const current: Readonly<Record<string, string>> = { "stagevar-skip": "stagevar-released" };

export const currentPolicyName = (name: string): string => (Object.hasOwn(current, name) ? current[name] : name);
