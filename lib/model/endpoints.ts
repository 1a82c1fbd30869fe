/**
 * Owns merging: the slices of a Service into the endpoints of one of its ports and families.
 *
 *   EndpointSlice[] + port + family -> endpointsOf -> Endpoint[] -> topology
 */
import { hostPort, type Ip, type IpFamily } from '../config/address.js';
import type { EndpointSlice, Protocol, SliceEndpoint } from './objects.js';

export interface Endpoint {
  readonly address: Ip;
  readonly port: number;
  /** On the node this process runs on. */
  readonly local: boolean;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  readonly zoneHints: readonly string[];
  readonly nodeHints: readonly string[];
}

/** The port of a Service as slices name it. */
export interface EndpointPortName {
  readonly name: string;
  readonly protocol: Protocol;
}

/**
 * Rules S2, S3, S4. An address and port that stands in several slices is one endpoint: a local one wins, then the more
 * usable one, so that an endpoint on its way from one slice to another never looks worse than it is (rule S5).
 */
export function endpointsOf(
  slices: readonly EndpointSlice[],
  port: EndpointPortName,
  family: IpFamily,
  nodeName: string,
): readonly Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const slicePort of slice.ports) {
      if (slicePort.name !== port.name || slicePort.protocol !== port.protocol) continue;
      for (const one of slice.endpoints) {
        const endpoint = toEndpoint(one, slicePort.port, nodeName);
        const key = hostPort(endpoint.address, endpoint.port);
        const known = found.get(key);
        if (known === undefined || preference(endpoint) > preference(known)) found.set(key, endpoint);
      }
    }
  }
  return [...found.values()];
}

function toEndpoint(one: SliceEndpoint, port: number, nodeName: string): Endpoint {
  const { address, ready, serving, terminating, zoneHints, nodeHints } = one;
  return { address, port, local: one.nodeName === nodeName, ready, serving, terminating, zoneHints, nodeHints };
}

function preference(endpoint: Endpoint): number {
  const usable = endpoint.ready ? 2 : endpoint.serving ? 1 : 0;
  return (endpoint.local ? 10 : 0) + usable;
}
