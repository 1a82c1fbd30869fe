/**
 * Owns reading a v1 Endpoints object: the older way to say what slices say (rule S3).
 *
 *   untrusted JSON -> fields -> one EndpointSlice for each subset and family | faults
 */
import type { z } from 'zod';
import { familyOf, IP_FAMILIES } from '../../config/address.js';
import { type EndpointSlice, objectKey, type SliceEndpoint } from '../../model/objects.js';
import { SliceEndpoints } from '../../model/slice-endpoints.js';
import type { ObjectOptions } from './endpoint-slice.js';
import { type Fault, failed, fault, type Parsed } from './fault.js';
import * as fields from './fields.js';
import { field, items, labelOf } from './raw.js';

const HEADLESS = 'service.kubernetes.io/headless';

const subsetPort = fields.object({ name: fields.portName, protocol: fields.protocol, port: fields.port });

function schemaOf(rule: fields.AddressRule) {
  const address = fields.object({ ip: fields.address(rule), nodeName: fields.subdomain.nullish() });
  return fields.object({
    metadata: fields.object({ name: fields.subdomain, namespace: fields.namespace }),
    subsets: fields.list(
      fields.object({
        addresses: fields.list(address),
        notReadyAddresses: fields.list(address),
        ports: fields.list(subsetPort),
      }),
    ),
  });
}

type Schema = ReturnType<typeof schemaOf>;
type Subset = NonNullable<z.output<Schema>['subsets']>[number];
type Address = NonNullable<Subset['addresses']>[number];

const strict = schemaOf({ allowLoopback: false });
const withLoopback = schemaOf({ allowLoopback: true });

/** No slices, and no fault, where the Service is headless or nothing serves it. */
export function parseEndpoints(json: unknown, options: ObjectOptions): Parsed<readonly EndpointSlice[]> {
  if (labelOf(json, HEADLESS) !== undefined) return { ok: [] };
  const checked = fields.check(options.allowLoopback ? withLoopback : strict, json);
  const across = acrossSubsets(json);
  if ('faults' in checked) return failed([...checked.faults, ...across]);
  if (across.length > 0) return failed(across);
  const { metadata, subsets } = checked.value;
  const service = objectKey(metadata.namespace, metadata.name);
  return { ok: (subsets ?? []).flatMap((subset, index) => slicesOf(service, subset, index)) };
}

function acrossSubsets(json: unknown): Fault[] {
  const faults: Fault[] = [];
  for (const [index, subset] of items(field(json, 'subsets')).entries()) {
    const path = ['subsets', index];
    const [addresses, notReady] = [field(subset, 'addresses'), field(subset, 'notReadyAddresses')];
    if (items(addresses).length === 0 && items(notReady).length === 0) {
      faults.push(fault([...path, 'addresses'], 'an address here or in notReadyAddresses', addresses));
    }
    const ports = items(field(subset, 'ports'));
    for (const [at, port] of ports.entries()) {
      const name = field(port, 'name') ?? '';
      if (name !== '' || ports.length === 1) continue;
      faults.push(fault([...path, 'ports', at, 'name'], 'a name, because there are several ports', name));
    }
  }
  return faults;
}

/** `#` is in no name of the API: these keys cannot be those of an EndpointSlice. */
function slicesOf(service: string, subset: Subset, index: number): EndpointSlice[] {
  const ports = Object.freeze((subset.ports ?? []).map((port) => Object.freeze(port)));
  const all = [
    ...(subset.addresses ?? []).map((address) => toEndpoint(address, true)),
    ...(subset.notReadyAddresses ?? []).map((address) => toEndpoint(address, false)),
  ];
  return IP_FAMILIES.flatMap((family) => {
    const endpoints = SliceEndpoints.of(all.filter(({ address }) => familyOf(address) === family));
    const key = `${service}#${index}-${family}`;
    return endpoints.length > 0 ? [Object.freeze({ key, service, family, ports, endpoints, fromEndpoints: true })] : [];
  });
}

const NO_HINTS: readonly string[] = Object.freeze([]);

function toEndpoint({ ip, nodeName }: Address, ready: boolean): SliceEndpoint {
  return {
    address: ip,
    ready,
    serving: ready,
    terminating: false,
    nodeName: nodeName ?? undefined,
    zoneHints: NO_HINTS,
    nodeHints: NO_HINTS,
  };
}
