/** Owns the name of where a connection or flow may be relayed to: what balancing chooses among and engines dial. */
import { hostPort, type Ip } from '../config/address.js';

export interface Backend {
  readonly host: Ip;
  readonly port: number;
}

/** `10.0.0.5:6379`: two backends of one key are one backend. */
export type BackendKey = string;

export function backendKey(backend: Backend): BackendKey {
  return hostPort(backend.host, backend.port);
}
