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
  const { namespace, service, port, protocol } = name;
  // Joined, not added up: text that is added up stays in its pieces in memory, and keys are many.
  const words =
    port === '' ? [namespace, '/', service, '/', protocol] : [namespace, '/', service, ':', port, '/', protocol];
  return words.join('');
}

export function serviceKeyOf(name: ServicePortName): ObjectKey {
  return `${name.namespace}/${name.service}`;
}
