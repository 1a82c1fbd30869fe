/**
 * Owns reading a discovery.k8s.io/v1 EndpointSlice (rules S3, S4).
 *
 *   untrusted JSON -> is it for us? -> fields -> EndpointSlice | nothing | faults
 *
 * The API server fills in a missing port name with '' (SetDefaults_EndpointPort), so a proxy never meets the nil names of
 * rule S3. Nobody has done so to a manifest: here a missing name is '' too, the unnamed port.
 */
import type { z } from 'zod';
import type { IpFamily } from '../../config/address.js';
import { Repeated } from '../../config/repeated.js';
import { type EndpointPort, type EndpointSlice, objectKey, type SliceEndpoint } from '../../model/objects.js';
import { SliceEndpoints } from '../../model/slice-endpoints.js';
import { type Fault, failed, type Parsed, quote } from './fault.js';
import * as fields from './fields.js';
import { field, items, labelOf } from './raw.js';

const HEADLESS = 'service.kubernetes.io/headless';
const SERVICE_NAME = 'kubernetes.io/service-name';
const TRIGGER_TIME = 'endpoints.kubernetes.io/last-change-trigger-time';

export interface ObjectOptions {
  /** Manifest files are the operator's own words and may name backends on this host; objects of the API may not. */
  readonly allowLoopback: boolean;
}

const slicePort = fields.object({
  name: fields.portName,
  protocol: fields.protocol,
  port: fields.port.nullish(),
});

const conditions = fields.object({ ready: fields.flag, serving: fields.flag, terminating: fields.flag });

const hints = fields.object({
  forZones: fields.list(fields.object({ name: fields.labelValue })),
  forNodes: fields.list(fields.object({ name: fields.subdomain })),
});

function schemaOf(rule: fields.AddressRule) {
  const endpoint = fields.object({
    addresses: fields.firstOf(fields.address(rule)),
    conditions: conditions.nullish(),
    nodeName: fields.subdomain.nullish(),
    hints: hints.nullish(),
  });
  return fields.object({
    metadata: fields.object({
      name: fields.subdomain,
      namespace: fields.namespace,
      labels: fields.object({ [SERVICE_NAME]: fields.label }),
    }),
    addressType: fields.word(['IPv4', 'IPv6']),
    ports: fields.list(slicePort),
    endpoints: fields.list(endpoint),
  });
}

type Schema = ReturnType<typeof schemaOf>;
type Endpoint = NonNullable<z.output<Schema>['endpoints']>[number];

/** `ok: undefined` is no fault: the slice is not for us (headless, of no Service, or of names instead of addresses). */
export function parseEndpointSlice(json: unknown, options: ObjectOptions): Parsed<EndpointSlice | undefined> {
  if (!isForUs(json)) return { ok: undefined };
  const addressType = field(json, 'addressType');
  const family = addressType === 'IPv4' || addressType === 'IPv6' ? addressType : undefined;
  const checked = fields.check(schemaFor(family, options.allowLoopback), json);
  const repeated = repeatedPortNames(json);
  if ('faults' in checked) return failed([...checked.faults, ...repeated]);
  return repeated.length > 0 ? failed(repeated) : { ok: build(checked.value, triggeredAtMs(json)) };
}

/** What kube-proxy's label selector and its slice cache leave out. */
function isForUs(json: unknown): boolean {
  const service = labelOf(json, SERVICE_NAME) ?? '';
  return service !== '' && labelOf(json, HEADLESS) === undefined && field(json, 'addressType') !== 'FQDN';
}

const schemas = new Map<string, Schema>();

function schemaFor(family: IpFamily | undefined, allowLoopback: boolean): Schema {
  const key = `${family} ${allowLoopback}`;
  let schema = schemas.get(key);
  if (schema === undefined) {
    schema = schemaOf({ family, allowLoopback });
    schemas.set(key, schema);
  }
  return schema;
}

function repeatedPortNames(json: unknown): Fault[] {
  const seen = new Set<string>();
  const faults: Fault[] = [];
  for (const [index, port] of items(field(json, 'ports')).entries()) {
    const name = field(port, 'name') ?? '';
    if (typeof name !== 'string') continue;
    if (seen.has(name)) {
      faults.push({ path: ['ports', index, 'name'], message: `expected a name of its own, got ${quote(name)} again` });
    }
    seen.add(name);
  }
  return faults;
}

/** It serves a metric alone: what cannot be read is not there. */
function triggeredAtMs(json: unknown): number | undefined {
  const time = field(json, 'metadata', 'annotations', TRIGGER_TIME);
  const ms = typeof time === 'string' ? Date.parse(time) : NaN;
  return Number.isNaN(ms) ? undefined : ms;
}

function build(
  { metadata, addressType, ports, endpoints }: z.output<Schema>,
  triggered: number | undefined,
): EndpointSlice {
  return Object.freeze({
    key: objectKey(metadata.namespace, metadata.name),
    service: objectKey(metadata.namespace, metadata.labels[SERVICE_NAME]),
    family: addressType,
    ports: buildPorts(ports ?? []),
    endpoints: SliceEndpoints.of((endpoints ?? []).map(buildEndpoint)),
    fromEndpoints: false,
    ...(triggered === undefined ? {} : { triggeredAtMs: triggered }),
  });
}

/** Most slices have the ports of many others. */
const portLists = new Repeated<readonly EndpointPort[]>();

function buildPorts(ports: readonly z.output<typeof slicePort>[]): readonly EndpointPort[] {
  const built = ports.flatMap(buildPort);
  const text = built.map(({ name, protocol, port }) => [name, protocol, port].join('/')).join(' ');
  return portLists.one(text, Object.freeze(built.slice()));
}

/** A port without a number means "all ports", which a proxy cannot serve: it is ignored (rule S3). */
function buildPort({ name, protocol, port }: z.output<typeof slicePort>): EndpointPort[] {
  return typeof port === 'number' ? [Object.freeze({ name, protocol, port })] : [];
}

function buildEndpoint({ addresses, conditions: state, nodeName, hints: given }: Endpoint): SliceEndpoint {
  return {
    address: addresses,
    ready: state?.ready ?? true,
    serving: state?.serving ?? true,
    terminating: state?.terminating ?? false,
    nodeName: nodeName ?? undefined,
    zoneHints: names(given?.forZones),
    nodeHints: names(given?.forNodes),
  };
}

const NO_NAMES: readonly string[] = Object.freeze([]);

function names(given: readonly { readonly name: string }[] | null | undefined): readonly string[] {
  return given?.length ? Object.freeze(given.map(({ name }) => name)) : NO_NAMES;
}
