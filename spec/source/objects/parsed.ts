/** Owns asking a parser's answer in specs: the value, or the faults as lines of text. */
import type { EndpointSlice, SliceEndpoint } from '../../../lib/model/objects.js';
import { type Parsed, pathText } from '../../../lib/source/objects/fault.js';

export function okOf<T>(parsed: Parsed<T>): T {
  if ('ok' in parsed) return parsed.ok;
  throw new Error(`expected a value, got faults:\n${linesOf(parsed).join('\n')}`);
}

/** What a slice that was read holds, as it is iterated. */
export function endpointsIn(parsed: Parsed<EndpointSlice | undefined>): readonly SliceEndpoint[] {
  return [...(okOf(parsed)?.endpoints ?? [])];
}

/** `spec.ports[0].port: expected ...`; none where there is a value. */
export function linesOf(parsed: Parsed<unknown>): readonly string[] {
  return 'ok' in parsed ? [] : parsed.faults.map(({ path, message }) => `${pathText(path)}: ${message}`);
}

export function pathsOf(parsed: Parsed<unknown>): readonly string[] {
  return 'ok' in parsed ? [] : parsed.faults.map(({ path }) => pathText(path));
}
