/** Owns the identity of a Service port: the one key that listeners, balancing, metrics and logs share. */
import type { ObjectKey, Protocol, Service, ServicePortSpec } from './objects.js';

export interface ServicePortName {
  readonly namespace: string;
  readonly service: string;
  /** '' for the only port of a Service without names. */
  readonly port: string;
  readonly protocol: Protocol;
}

/** `work/saythx-redis:redis/TCP`, or `work/saythx-redis/TCP` for an unnamed port. */
export type ServicePortKey = string;

export function servicePortName(service: Service, port: ServicePortSpec, protocol: Protocol): ServicePortName {
  return { namespace: service.namespace, service: service.name, port: port.name, protocol };
}

export function servicePortKey(name: ServicePortName): ServicePortKey {
  const port = name.port === '' ? '' : `:${name.port}`;
  return `${name.namespace}/${name.service}${port}/${name.protocol}`;
}

export function serviceKeyOf(name: ServicePortName): ObjectKey {
  return `${name.namespace}/${name.service}`;
}
