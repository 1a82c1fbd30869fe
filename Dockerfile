# The image of examples/daemonset:   docker build -t kproxy-us .
FROM node:20-bookworm-slim AS build
WORKDIR /src
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json ./
COPY bin ./bin
COPY lib ./lib
RUN npm run build
RUN npm prune --omit=dev

FROM node:20-bookworm-slim
# nft or legacy: what the node's other programs use (`iptables --version` there).
ARG IPTABLES=nft
RUN apt-get update \
  && apt-get install -y --no-install-recommends iptables conntrack \
  && rm -rf /var/lib/apt/lists/* \
  && update-alternatives --set iptables /usr/sbin/iptables-$IPTABLES \
  && update-alternatives --set ip6tables /usr/sbin/ip6tables-$IPTABLES
WORKDIR /app
COPY --from=build /src/package.json ./
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/dist ./dist
ENV NODE_ENV=production
ENTRYPOINT ["node", "/app/dist/bin/kproxy-us.js"]
