/**
 * Owns the small values of configuration as text: booleans, numbers, choices, addresses, feature gates.
 *
 *   text -> parse -> value | fault (rule C1)
 */
import { type Ip, parseIp } from './address.js';
import { fault, listOf, type Parse } from './parsed.js';

/** Go's `strconv.ParseBool`. */
export const parseBoolean: Parse<boolean> = (text) => {
  if (/^(1|t|T|true|TRUE|True)$/.test(text)) return { value: true };
  if (/^(0|f|F|false|FALSE|False)$/.test(text)) return { value: false };
  return fault(text, 'true or false');
};

/** A whole number, both bounds included. */
export function integerParser(min: number, max: number): Parse<number> {
  return (text) => {
    const value = /^[-+]?\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? { value } : fault(text, `a whole number from ${min} to ${max}`);
  };
}

/** A number such as `50` or `0.5`, both bounds included. */
export function numberParser(min: number, max: number): Parse<number> {
  return (text) => {
    const value = /^[-+]?(\d+\.?\d*|\.\d+)$/.test(text) ? Number(text) : Number.NaN;
    return value >= min && value <= max ? { value } : fault(text, `a number from ${min} to ${max}`);
  };
}

export function choiceParser<const T extends string>(choices: readonly T[]): Parse<T> {
  return (text) => {
    const value = choices.find((choice) => choice === text);
    return value === undefined ? fault(text, `one of ${choices.join(', ')}`) : { value };
  };
}

export const parseIpAddress: Parse<Ip> = (text) => {
  const ip = parseIp(text);
  return ip === undefined ? fault(text, 'an IP address such as 192.0.2.1 or 2001:db8::1') : { value: ip };
};

/** Text that must not be empty; `what` says what it is. */
export function textParser(what: string): Parse<string> {
  return (text) => (text.trim() === '' ? fault(text, what) : { value: text });
}

/** `A=true,B=false`. Names are not checked: kube-proxy's gates come and go, and none of them changes what we do. */
export const parseFeatureGates: Parse<Readonly<Record<string, boolean>>> = (text) => {
  const gates: [string, boolean][] = [];
  for (const part of listOf(text)) {
    const [, name, state = ''] = /^([A-Za-z][\w-]*)\s*=\s*(\w+)$/.exec(part) ?? [];
    const on = parseBoolean(state);
    if (name === undefined || 'fault' in on) return fault(part, 'Gate=true or Gate=false');
    gates.push([name, on.value]);
  }
  return { value: Object.fromEntries(gates) };
};
