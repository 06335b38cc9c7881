import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.ConsistencyLevel;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Map;

/** The scenarios of tests/support/sdk.py with azure-cosmos. One JSON line per scenario on stdout. */
public final class Suite {
    static final ObjectMapper JSON = new ObjectMapper();
    static final String ENDPOINT = System.getenv("ORRERY_ENDPOINT");
    static final String DATABASE = System.getenv("ORRERY_DATABASE");

    interface Work {
        void run() throws Exception;
    }

    /** What a scenario throws that this SDK cannot do. */
    static final class Skipped extends Exception {
        Skipped(String reason) {
            super(reason);
        }
    }

    public static void main(String[] args) throws Exception {
        if (ENDPOINT.startsWith("https:")) {
            trust(Path.of(System.getenv("ORRERY_CA")));
        } else {
            System.setProperty("COSMOS.HTTP_CONNECTION_WITHOUT_TLS_ALLOWED", "true");
        }
        Map<String, Work> all = new Scenarios().all();
        if (ENDPOINT.startsWith("http:")) { // what they test is the same over TLS
            all.putAll(new Queries().all());
        }
        for (Map.Entry<String, Work> each : all.entrySet()) {
            ObjectNode line = JSON.createObjectNode().put("scenario", each.getKey());
            try {
                each.getValue().run();
                line.put("ok", true);
            } catch (Skipped skipped) {
                line.put("skipped", skipped.getMessage());
            } catch (Throwable fault) {
                line.put("ok", false).put("detail", describe(fault));
            }
            System.out.println(JSON.writeValueAsString(line));
        }
        System.exit(0);
    }

    private static String describe(Throwable fault) {
        StringBuilder text = new StringBuilder();
        if (fault instanceof CosmosException) {
            CosmosException answer = (CosmosException) fault;
            text.append(answer.getStatusCode()).append('/').append(answer.getSubStatusCode()).append(' ');
        }
        String message = String.valueOf(fault);
        text.append(message, 0, Math.min(message.length(), 1500));
        for (StackTraceElement element : fault.getStackTrace()) {
            if (element.getClassName().matches("(Scenarios|Queries).*")) {
                text.append("\n    at ").append(element);
            }
        }
        return text.toString();
    }

    /** Makes the gateway's authority the only one that this process trusts. */
    private static void trust(Path pem) throws Exception {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, null);
        try (InputStream in = Files.newInputStream(pem)) {
            store.setCertificateEntry("orrery", CertificateFactory.getInstance("X.509").generateCertificate(in));
        }
        Path file = Files.createTempFile("orrery-trust", ".p12");
        file.toFile().deleteOnExit();
        try (var out = Files.newOutputStream(file)) {
            store.store(out, "orrery".toCharArray());
        }
        System.setProperty("javax.net.ssl.trustStore", file.toString());
        System.setProperty("javax.net.ssl.trustStorePassword", "orrery");
        System.setProperty("javax.net.ssl.trustStoreType", "PKCS12");
    }

    static CosmosClient client() {
        return new CosmosClientBuilder()
            .endpoint(ENDPOINT)
            .key(System.getenv("ORRERY_KEY"))
            .gatewayMode()
            .consistencyLevel(ConsistencyLevel.SESSION)
            .contentResponseOnWriteEnabled(true)
            .buildClient();
    }
}
