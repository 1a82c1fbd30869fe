/**
 * Owns reading a v1 Service (rules S1, S2, E9).
 *
 *   untrusted JSON -> fields one by one, then fields against each other -> Service | faults
 */
import type { z } from 'zod';
import { type Ip, scopeOf } from '../../config/address.js';
import { Repeated } from '../../config/repeated.js';
import { objectKey, type Service, type ServicePortSpec } from '../../model/objects.js';
import { failed, type Parsed } from './fault.js';
import * as fields from './fields.js';
import { acrossServiceFields } from './service-consistency.js';

const PROXY_NAME = 'service.kubernetes.io/service-proxy-name';
/** DefaultClientIPServiceAffinitySeconds. */
const DEFAULT_AFFINITY_SECONDS = 10_800;

const policy = fields.choice(['Cluster', 'Local'], 'Cluster');
const clusterIp = fields.address({}, ['None', '']);

const servicePort = fields.object({
  name: fields.portName,
  protocol: fields.protocol,
  port: fields.port,
  /** 0 is how the API writes "none". */
  nodePort: fields.whole(0, 65_535, 'a port from 1 to 65535').nullish(),
});

const affinityConfig = fields.object({
  clientIP: fields
    .object({ timeoutSeconds: fields.whole(1, 86_400, 'a number of seconds from 1 to 86400').nullish() })
    .nullish(),
});

const ingress = fields.object({
  ip: fields.address({ allowSpecial: true }, ['']).nullish(),
  ipMode: fields.choice(['VIP', 'Proxy'], 'VIP'),
});

const schema = fields.object({
  metadata: fields.object({
    name: fields.label,
    namespace: fields.namespace,
    labels: fields.object({ [PROXY_NAME]: fields.labelValue.nullish() }).nullish(),
    creationTimestamp: fields.timestamp.nullish(),
  }),
  spec: fields.object({
    type: fields.choice(['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'], 'ClusterIP'),
    clusterIP: clusterIp.nullish(),
    clusterIPs: fields.list(clusterIp),
    ports: fields.list(servicePort),
    internalTrafficPolicy: policy,
    externalTrafficPolicy: policy,
    sessionAffinity: fields.choice(['None', 'ClientIP'], 'None'),
    sessionAffinityConfig: affinityConfig.nullish(),
    externalIPs: fields.list(fields.address()),
    loadBalancerSourceRanges: fields.list(fields.cidr),
    /** 0 is how the API writes "none". */
    healthCheckNodePort: fields.whole(0, 65_535, 'a port from 1 to 65535').nullish(),
  }),
  status: fields.object({ loadBalancer: fields.object({ ingress: fields.list(ingress) }).nullish() }).nullish(),
});

type Checked = z.output<typeof schema>;

/**
 * Reads a Service as the API server or a manifest has it. One without any cluster IP, which the API server would have
 * given it, is legal: its node ports work.
 */
export function parseService(json: unknown): Parsed<Service> {
  const checked = fields.check(schema, json);
  const across = acrossServiceFields(json);
  if ('faults' in checked) return failed([...checked.faults, ...across]);
  return across.length > 0 ? failed(across) : { ok: build(checked.value) };
}

function build({ metadata, spec, status }: Checked): Service {
  const { name } = metadata;
  const namespace = namespaces.one(metadata.namespace, metadata.namespace);
  const clusterIPs = spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? ''];
  const external = spec.type === 'ExternalName';
  return Object.freeze({
    key: objectKey(namespace, name),
    namespace,
    name,
    type: spec.type,
    clusterIPs: unique(external ? [] : clusterIPs.filter((ip) => ip !== 'None' && ip !== '')),
    headless: !external && clusterIPs[0] === 'None',
    ports: buildPorts(spec.ports ?? []),
    internalTrafficPolicy: spec.internalTrafficPolicy,
    externalTrafficPolicy: spec.externalTrafficPolicy,
    affinityTimeoutMs: affinityTimeoutMs(spec),
    externalIPs: unique(spec.externalIPs ?? []),
    loadBalancerIPs: unique(spec.type === 'LoadBalancer' ? loadBalancerIps(status) : []),
    loadBalancerSourceRanges: unique(spec.loadBalancerSourceRanges ?? []),
    healthCheckNodePort: healthCheckNodePort(spec),
    proxyName: metadata.labels?.[PROXY_NAME] ?? undefined,
    createdAt: metadata.creationTimestamp ?? '',
  });
}

const namespaces = new Repeated<string>();
/** Most Services have the ports of many others; node ports are their own. */
const portLists = new Repeated<readonly ServicePortSpec[]>();

function buildPorts(ports: readonly z.output<typeof servicePort>[]): readonly ServicePortSpec[] {
  const built = Object.freeze(ports.map(buildPort));
  if (built.some(({ nodePort }) => nodePort !== undefined)) return built;
  return portLists.one(built.map(({ name, protocol, port }) => [name, protocol, port].join('/')).join(' '), built);
}

function buildPort({ name, protocol, port, nodePort }: z.output<typeof servicePort>) {
  return Object.freeze({ name, protocol, port, nodePort: nodePort === 0 ? undefined : (nodePort ?? undefined) });
}

function affinityTimeoutMs({ sessionAffinity, sessionAffinityConfig }: Checked['spec']): number | undefined {
  if (sessionAffinity === 'None') return undefined;
  return (sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS) * 1_000;
}

/** A special address (minikube's tunnel writes 127.0.0.1) is no fault of the Service: it just gets no frontend. */
function loadBalancerIps(status: Checked['status']): Ip[] {
  const vips = (status?.loadBalancer?.ingress ?? []).filter(({ ipMode }) => ipMode === 'VIP');
  return vips.map(({ ip }) => ip ?? '').filter((ip) => ip !== '' && scopeOf(ip) === 'unicast');
}

/** It has a meaning for load balancers with policy Local alone (rule H1). */
function healthCheckNodePort(spec: Checked['spec']): number | undefined {
  if (spec.type !== 'LoadBalancer' || spec.externalTrafficPolicy !== 'Local') return undefined;
  return spec.healthCheckNodePort || undefined;
}

function unique(texts: readonly string[]): readonly string[] {
  return texts.length === 0 ? NONE : Object.freeze([...new Set(texts)]);
}

/** Most Services have no external address and no ranges: one list for all of them. */
const NONE: readonly string[] = Object.freeze([]);
